// Tokens as spans, tinted by a number, with a tooltip. Text only ever goes through textContent.
// data: {tokens: [{t, v, p, c, x, b, tip: [[name, value], ...]}], scale, selected, low, high, label, fold}
//   t text, v number or null, p in the prompt, c changed against the baseline, x a template's token, b break after it

const latest = new WeakMap()

export default function ({ data, parentElement, setTriggerValue }) {
  const view = parentElement.querySelector(".tv")
  const tip = parentElement.querySelector(".tip")
  const legend = parentElement.querySelector(".legend")
  const tokens = data.tokens
  // Where Tab comes in, and where Home goes: a token that is not folded away.
  const written = data.fold == null ? 0 : Math.max(0, tokens.findIndex((token) => !token.p))
  const home = tokens[data.selected] && (data.fold == null || !tokens[data.selected].p) ? data.selected : written

  while (view.children.length > tokens.length) view.lastChild.remove()
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]
    const cell = view.children[i] || view.appendChild(document.createElement("span"))
    if (!cell.firstChild) {
      cell.append(document.createTextNode(""), document.createElement("span"), document.createTextNode(""))
    }
    cell.className = token.p ? (tokens[i + 1]?.p ? "before" : "before last") : ""
    // The word is tinted and its leading space is not: wrapped lines would have ragged edges.
    const [lead, word, rest] = cell.childNodes
    const space = token.t.match(/^\s*/)[0]
    lead.data = space
    word.textContent = token.t.slice(space.length)
    rest.data = token.b ? "\n" : ""
    word.className = ["tok", token.p && "prompt", token.c && "changed", token.x && "special", i === data.selected && "selected"]
      .filter(Boolean).join(" ")
    const x = token.v == null || !data.scale ? 0 : Math.max(-1, Math.min(1, token.v / data.scale))
    const share = Math.abs(x) < 0.12 ? 0 : 5 + 47 * Math.abs(x) ** 1.3
    const hue = x > 0 ? "var(--st-blue-color)" : "var(--st-orange-color)"
    word.classList.toggle("tinted", !!share)  // gray words would be hard to read on a tint
    const mix = (part) => `color-mix(in srgb, ${hue} ${(part * share).toFixed(0)}%, transparent)`
    // Below zero it is striped too, so that the sign can be told without its color.
    word.style.background = !share ? "" : x > 0 ? mix(1)
      : `repeating-linear-gradient(115deg, ${mix(1)} 0 4px, ${mix(0.72)} 4px 7px)`
    word.tabIndex = i === home ? 0 : -1
    word.setAttribute("role", "option")
    word.setAttribute("aria-selected", i === data.selected ? "true" : "false")
    word.setAttribute("aria-label", token.t.trim() || "space")  // a token may be a space and nothing else
    word.dataset.i = i
  }
  view.setAttribute("aria-label", data.label || "Tokens")

  // The prompt folds to one line: what was written is what a reader looks for.
  const fold = parentElement.querySelector(".fold")
  const more = parentElement.querySelector(".more")
  const count = tokens.filter((token) => token.p).length
  fold.hidden = data.fold == null || !count
  fold.firstChild.textContent = data.fold || ""
  const foldTo = (open) => {
    fold.setAttribute("aria-expanded", open)
    fold.lastChild.textContent = `prompt, ${count} tokens, ${open ? "hide" : "show"}`
    view.classList.toggle("folded", !fold.hidden && !open)
    measure()
  }
  const measure = () => {
    more.hidden = view.classList.contains("whole") || view.scrollHeight <= view.clientHeight + 4
  }
  fold.onclick = () => foldTo(fold.getAttribute("aria-expanded") !== "true")
  more.onclick = () => { view.classList.add("whole"); measure() }
  foldTo(fold.getAttribute("aria-expanded") === "true")
  requestAnimationFrame(measure)

  legend.hidden = !data.low && !data.high
  legend.querySelector(".low").textContent = data.low || ""
  legend.querySelector(".high").textContent = data.high || ""

  const show = (word) => {
    const token = tokens[+word.dataset.i]
    if (!token) return
    tip.replaceChildren()
    const head = tip.appendChild(document.createElement("div"))
    head.className = "head"
    head.textContent = `“${token.t}”`
    for (const [name, value] of token.tip || []) {
      const line = tip.appendChild(document.createElement("div"))
      line.appendChild(document.createElement("span")).textContent = name
      line.appendChild(document.createElement("b")).textContent = value
    }
    tip.hidden = false
    // Fixed to the window, so that a card that scrolls does not cut it off.
    const at = word.getClientRects()[0] || word.getBoundingClientRect()
    const left = Math.max(4, Math.min(at.left, window.innerWidth - tip.offsetWidth - 8))
    const below = at.bottom + 6
    const above = at.top - tip.offsetHeight - 6
    tip.style.left = `${left}px`
    tip.style.top = `${below + tip.offsetHeight > window.innerHeight && above > 0 ? above : below}px`
  }
  const hide = () => { tip.hidden = true }
  const of = (event) => (event.target.closest ? event.target.closest(".tok") : null)
  const pick = (word) => setTriggerValue("picked", +word.dataset.i)

  view.onmouseover = (event) => { const word = of(event); word ? show(word) : hide() }
  view.onmouseleave = hide
  // Focus events that bubble have no handler property, so listeners are added once and call the latest functions.
  if (!latest.has(view)) {
    view.addEventListener("focusin", (event) => { const word = of(event); if (word) latest.get(view).show(word) })
    view.addEventListener("focusout", () => latest.get(view).hide())
  }
  latest.set(view, { show, hide })
  view.onclick = (event) => { const word = of(event); if (word) pick(word) }
  view.onkeydown = (event) => {
    const word = of(event)
    if (!word) return
    const i = +word.dataset.i
    const go = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: view.classList.contains("folded") ? written : 0, End: tokens.length - 1 }[event.key]
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(word) }
    if (event.key === "Escape") hide()
    if (go === undefined || !view.children[go]) return
    event.preventDefault()
    word.tabIndex = -1
    const next = view.children[go].querySelector(".tok")
    if (!next.offsetParent) return  // folded away
    next.tabIndex = 0
    next.focus()
  }
}
