// A dose strip that plays: one slider over texts that are already here, so that moving it costs nothing.
// Text only ever goes through textContent. Used by the dashboard's widget and by the exported page.
// data: {doses: [{said, text, pieces, surprise, repetition, at, chances: [{text, baseline, steered}]}], turn, breaks, best,
//   label, unit, steered, drawing: {before, layers, layer, what} or null, words: {name: help}, parts: [...], guess, large,
//   running, roads: {index: {baseline, steered}}, can: {use, road}, version}
// on: {use(index), road(index)}

const SVG = "http://www.w3.org/2000/svg"
const players = new WeakMap()

function element(kind, className, text) {
  const made = document.createElement(kind)
  if (className) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

function shape(kind, attributes, text) {
  const made = document.createElementNS(SVG, kind)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  if (text !== undefined) made.textContent = text
  return made
}

const percent = (p) => (p == null ? "under 1%" : p < 0.095 ? `${(100 * p).toFixed(1)}%` : `${Math.round(100 * p)}%`)
const shown = (piece) => (piece === "" ? "(end)" : `“${piece.trim() || piece.replace(/\n/g, "⏎").replace(/ /g, "␣")}”`)

// What a dose is, in words and as a class: nothing depends on color alone.
function kind(data, index) {
  if (index === 0) return ["off", "without"]
  if (data.running || data.covered) return ["same", ""]
  if (data.breaks != null && index >= data.breaks) return ["broken", index === data.breaks ? "breaks here" : "broken"]
  if (data.turned[index]) return ["turned", index === data.turn ? "turns here" : "another answer"]
  return ["same", data.turn != null && index > data.turn ? "turns back" : "same answer"]
}

// A word with its explanation: on hover, on focus, and for screen readers.
function term(word, help) {
  const made = element("span", help ? "term" : "", word)
  if (help) {
    made.tabIndex = 0
    made.append(element("span", "tip", help))
  }
  return made
}

// The word that begins with a token: with the pieces of it that follow.
function word(pieces, at) {
  let end = at + 1
  while (end < pieces.length && /\w$/.test(pieces[end - 1]) && /^\w/.test(pieces[end])) end += 1
  return [pieces.slice(at, end).join(""), end]
}

// The text with the token at which it parts from the other one marked; `open` is called when the mark is pressed.
function written(into, dose, at, open) {
  into.replaceChildren()
  const pieces = dose.pieces || []
  if (at == null || at >= pieces.length) {
    into.textContent = dose.text.trimStart()
    return
  }
  into.append(document.createTextNode(pieces.slice(0, at).join("").trimStart()))
  const space = at ? pieces[at].match(/^\s*/)[0] : ""
  const [marked, end] = word(pieces, at)
  const mark = element("button", "mark", marked.trim() || (marked ? "⏎" : "(end)"))
  mark.type = "button"
  mark.dataset.name = `mark${into.dataset.side}`
  mark.title = "Here the two texts part: press to see what each expected"
  mark.onclick = open
  into.append(document.createTextNode(space), mark, document.createTextNode(pieces.slice(end).join("").trimEnd()))
}

function dial(state) {
  const box = element("div", "dial")
  const head = element("div", "head")
  const track = element("div", "track")
  const zones = element("div", "zones")
  const input = element("input")
  input.type = "range"
  input.min = 0
  input.step = 1
  const ticks = element("div", "ticks")
  const names = element("div", "names")
  track.append(zones, input)
  box.append(head, track, ticks, names)
  input.oninput = () => state.go(+input.value)
  state.paint.push((data, at) => {
    const last = data.doses.length - 1
    const dose = data.doses[at]
    head.replaceChildren(
      term(data.label, data.words.strength),
      element("output", "", dose.said),
      ...(data.unit ? [term(data.unit, data.words.unit)] : []),
    )
    input.max = last
    input.value = at
    input.setAttribute("aria-label", data.label)
    const [, said] = kind(data, at)
    input.setAttribute("aria-valuetext", `${dose.said} ${data.unit}, ${said}`)
    const share = (i) => `${(100 * i) / last}%`
    zones.replaceChildren()
    ticks.replaceChildren()
    names.replaceChildren()
    const wide = box.clientWidth > 560
    const labels = wide
      ? { off: "same answer", same: "same answer", turned: "another answer", broken: "text breaks" }
      : { off: "same", same: "same", turned: "another", broken: "breaks" }
    const edges = []
    data.doses.forEach((_, i) => {
      const [name, label] = kind(data, i)
      const zone = name === "off" ? "same" : name
      const last = edges[edges.length - 1]
      if (!last || last[1] !== zone) edges.push([Math.max(0, i - 0.5), zone, label === "turns back" ? (wide ? label : "back") : labels[name]])
    })
    edges.forEach(([from, name, label], k) => {
      const to = k + 1 < edges.length ? edges[k + 1][0] : last
      const zone = element("i", name)
      zone.style.left = share(from)
      zone.style.width = `${(100 * (to - from)) / last}%`
      zones.append(zone)
      const text = element("span", name, data.running ? "" : label)
      if (data.covered) text.textContent = ""
      text.style.left = share(from)
      text.style.width = `${(100 * (to - from)) / last}%`
      if (to === last && ((to - from) / last) * box.clientWidth < 64) text.className += " tight"
      names.append(text)
    })
    data.doses.forEach((one, i) => {
      const tick = element("span", i === at ? "now" : "", one.said)
      tick.style.left = share(i)
      if (one.said.length > 6) tick.className += i === 0 ? " first" : i === last ? " last" : ""
      ticks.append(tick)
    })
  })
  return box
}

function cards(state) {
  const box = element("div", "cards")
  const one = (className) => {
    const card = element("section", `card ${className}`)
    const head = element("h4")
    const text = element("p", "text")
    text.dataset.side = className
    const line = element("p", "line")
    card.append(head, text, line)
    box.append(card)
    return { card, head, text, line }
  }
  const left = one("baseline")
  const right = one("steered")
  const cover = element("button", "cover", "Guess first: what will it say now? Press to see")
  cover.type = "button"
  cover.onclick = () => state.reveal()
  right.card.append(cover)
  state.paint.push((data, at) => {
    const dose = data.doses[at]
    const base = data.doses[0]
    const [name, said] = kind(data, at)
    left.head.textContent = data.plain
    right.head.textContent = at === 0 ? "The slider is at zero" : `${data.steered} ${dose.said}`
    right.card.classList.toggle("broken", name === "broken")
    written(left.text, base, dose.at, () => state.part())
    written(right.text, dose, dose.at, () => state.part())
    for (const [card, its] of [[left, base], [right, dose]]) {
      card.line.replaceChildren()
      if (its.surprise == null || data.running) continue
      card.line.append(
        term("surprise", data.words.surprise), ` ${its.surprise.toFixed(2)} · `,
        term("repetition", data.words.repetition), ` ${percent(its.repetition)}`,
      )
      if (its === dose && at > 0 && said) card.line.append(element("b", name, said))
    }
    const hidden = data.covered && at > 0
    cover.hidden = !hidden
    for (const card of [left, right]) {
      card.text.classList.toggle("idle", !card.text.textContent)
      if (!card.text.textContent) card.text.textContent = data.idle || "…"
    }
    right.text.hidden = right.line.hidden = hidden
  })
  return box
}

function film(state) {
  const box = element("ol", "film")
  box.setAttribute("aria-label", "The same question at every strength")
  state.paint.push((data, at) => {
    while (box.children.length > data.doses.length) box.lastChild.remove()
    data.doses.forEach((dose, i) => {
      const [name, said] = kind(data, i)
      let cell = box.children[i]
      if (!cell) {
        cell = box.appendChild(element("li"))
        const press = cell.appendChild(element("button"))
        press.type = "button"
        press.append(element("b"), element("i"), element("span"))
        press.onclick = () => state.go(i)
      }
      const press = cell.firstChild
      cell.className = name + (i === at ? " now" : "")
      press.setAttribute("aria-pressed", i === at)
      press.children[0].textContent = dose.said
      press.children[1].textContent = said
      press.children[2].textContent = data.covered && i > 0 ? "?" : dose.text.trim() || "…"
    })
  })
  return box
}

// Two distributions over the next token at the place where the texts part, side by side, and the roads not taken.
function parted(state, on) {
  const box = element("section", "parted")
  state.paint.push((data, at) => {
    const dose = data.doses[at]
    box.hidden = !state.open || dose.at == null || data.running || data.covered
    if (box.hidden) return
    const base = data.doses[0]
    const before = base.pieces.slice(0, dose.at).join("").trim()
    box.replaceChildren(element("h4", "", "Where the two answers part"))
    const where = before ? `After “…${before.slice(-60)}”` : "At the first word of the answer"
    box.append(element("p", "line", `${where} both have read the same words. What each expects next:`))
    const list = element("div", "chances")
    list.append(element("span"), element("b", "", data.plain), element("b", "", `${data.steered} ${dose.said}`))
    const most = Math.max(...dose.chances.flatMap((c) => [c.baseline || 0, c.steered || 0]), 0.01)
    for (const chance of dose.chances) {
      const name = element("span", "token", shown(chance.text))
      list.append(name)
      for (const side of ["baseline", "steered"]) {
        const bar = element("span", `bar ${side}`)
        const fill = element("i")
        fill.style.width = `${(62 * (chance[side] || 0)) / most}%`
        const took = chance.took[side === "baseline" ? 0 : 1]
        bar.append(fill, element("em", took ? "took" : "", percent(chance[side]) + (took ? " ← taken" : "")))
        list.append(bar)
      }
    }
    box.append(list)
    const road = (data.roads || {})[dose.said]
    if (road) {
      const pair = element("div", "cards")
      for (const side of ["baseline", "steered"]) {
        const card = element("section", `card ${side}`)
        const name = side === "baseline" ? data.plain : `${data.steered} ${dose.said}`
        const [start, forced, after] = road[side]
        const more = /\w$/.test(forced) ? after.match(/^\w*/)[0] : ""  // a word may have several tokens
        const rest = after.slice(more.length)
        const text = element("p", "text")
        text.append(start.trimStart(), start ? forced.match(/^\s*/)[0] : "", element("mark", "", forced.trim() + more), rest)
        card.append(element("h4", "", `${name}, made to say ${shown(forced)}`), text)
        pair.append(card)
      }
      box.append(pair)
    } else if (data.can.road) {
      const waits = state.waiting === dose.said
      const press = element("button", "do", waits ? "Writing…" : "Show the road not taken")
      press.type = "button"
      press.disabled = waits
      press.title = "Make each of them say the other one's word here, and go on"
      press.onclick = () => { state.waiting = dose.said; on.road(at); state.draw() }
      box.append(press)
    }
  })
  return box
}

function tools(state, on) {
  const box = element("div", "tools")
  state.paint.push((data, at) => {
    box.replaceChildren()
    const add = (name, text, act, off) => {
      const press = element("button", "do", text)
      press.dataset.name = name
      press.type = "button"
      press.disabled = !!off
      press.onclick = act
      box.append(press)
    }
    const hidden = data.covered
    if (data.doses[at].at != null && !data.running && !hidden) {
      add("part", state.open ? "Hide where the answers part" : "Where do the two answers part?", () => state.part())
    }
    if (data.can.use && at > 0 && !data.running) add("use", `Steer with ${data.doses[at].said}`, () => on.use(at))
    box.hidden = !box.children.length
  })
  return box
}

function player(root, data, on) {
  let state = players.get(root)
  if (!state) {
    state = { paint: [], at: data.best, seen: false, open: !!data.opened, version: data.version, data }
    players.set(root, state)
    const draw = () => {
      // What is drawn anew takes the focus along.
      const name = root.getRootNode().activeElement?.dataset?.name
      const data = { ...state.data, covered: !!state.data.guess && !state.seen }
      for (const paint of state.paint) paint(data, state.at)
      if (name) root.querySelector(`[data-name="${name}"]`)?.focus()
    }
    state.go = (at) => {
      state.touched = true
      state.at = Math.max(0, Math.min(state.data.doses.length - 1, at))
      draw()
    }
    state.reveal = () => { state.seen = true; draw() }
    state.part = () => { state.open = !state.open; draw() }
    state.draw = draw
    const made = { drawing: () => drawing(state), dial: () => dial(state), cards: () => cards(state),
      tools: () => tools(state, on), parted: () => parted(state, on), film: () => film(state) }
    for (const part of data.parts) root.append(made[part]())
    // A presenter's clicker: first the answer that the class has guessed, then the next strength.
    document.addEventListener("tiller-step", (event) => {
      if (!root.isConnected || state.data.idle && state.data.doses.every((dose) => !dose.text)) return
      const hidden = state.data.guess && !state.seen && state.at > 0
      if (event.detail > 0 && hidden) state.reveal()
      else if (event.detail > 0 && state.at === state.data.doses.length - 1) return
      else state.go(state.at + event.detail)
      event.preventDefault()
    })
    let width = 0
    new ResizeObserver(() => {
      if (width !== root.clientWidth) { width = root.clientWidth; draw() }
    }).observe(root)
  }
  // A new strip begins at its own best strength, or stays at the strength that the reader chose.
  if (state.version !== data.version) {
    const chosen = state.touched && state.data.asked === data.asked ? data.doses.findIndex((d) => d.said === state.data.doses[state.at].said) : -1
    if (state.data.asked !== data.asked) Object.assign(state, { seen: false, open: !!data.opened, touched: false })
    Object.assign(state, { version: data.version, at: chosen < 0 ? data.best : chosen })
  }
  state.data = data
  state.at = Math.min(state.at, data.doses.length - 1)
  root.classList.toggle("large", !!data.large)
  root.classList.toggle("running", !!data.running)
  state.draw()
  return state
}
