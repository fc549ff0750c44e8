// The drawing: words at the bottom, layers above them, and the arrow that bends the path of the last word at one layer.
// Solid and colored is the steered path, dotted and gray the path without steering; at the top the word that comes out.

function drawing(state) {
  const box = element("figure", "drawing")
  const svg = shape("svg", { role: "img" })
  const caption = element("figcaption")
  box.append(svg, caption)
  state.paint.push((data, at) => {
    box.hidden = !data.drawing
    if (!data.drawing) return
    const { before, layers, layer, what } = data.drawing
    const dose = data.doses[at]
    const base = data.doses[0]
    const width = Math.max(280, box.clientWidth || 600)
    const line = data.large ? 30 : 21
    const height = data.large ? 330 : 214
    const top = 2.2 * line
    const bottom = height - 1.9 * line
    const y = (l) => bottom - ((bottom - top) * (l + 1)) / (layers + 1)
    const context = [...before, ...base.pieces.slice(0, dose.at ?? 0)].map((p) => p.trim()).filter((p) => /[^\s]/.test(p))
    const step = Math.max(54, Math.min(118, width / 7)) * (data.large ? 1.25 : 1)
    const right = width - Math.max(130, 0.24 * width)
    const words = context.slice(-Math.max(1, 1 + Math.floor((right - 46) / step)))
    const x = (k) => right - (words.length - 1 - k) * step
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`)
    svg.setAttribute("height", height)
    svg.replaceChildren()
    const every = Math.max(1, Math.ceil(layers / 12))
    for (let l = 0; l < layers; l += every) {
      svg.append(shape("line", { class: "layer", x1: 8, x2: width - 8, y1: y(l), y2: y(l) }))
    }
    const here = y(layer)
    svg.append(shape("rect", { class: "here", x: 8, width: width - 16, y: here - 5, height: 10, rx: 4 }))
    svg.append(shape("text", { class: "note", x: 12, y: here - 9 }, `layer ${layer} (they are 0 to ${layers - 1})`))
    svg.append(shape("text", { class: "note", x: width - 10, y: bottom - 4, "text-anchor": "end" }, "words read"))
    const share = at / Math.max(1, data.doses.length - 1)
    const bend = at === 0 ? 0 : Math.min(0.9 * (width - 24 - right - 60), 22 + 84 * share)
    words.forEach((word, k) => {
      const last = k === words.length - 1
      const text = word.length > 11 ? `${word.slice(0, 10)}…` : word
      svg.append(shape("text", { class: last ? "word last" : "word", x: x(k), y: bottom + 1.35 * line, "text-anchor": "middle" }, text))
      svg.append(shape("circle", { class: last ? "dot last" : "dot", cx: x(k), cy: bottom, r: last ? 4 : 3 }))
      if (!last) svg.append(shape("line", { class: "path", x1: x(k), x2: x(k), y1: bottom, y2: top + 8 }))
    })
    const end = x(words.length - 1)
    const broken = kind(data, at)[0] === "broken"
    svg.append(shape("line", { class: "path plain", x1: end, x2: end, y1: bottom, y2: top + 4 }))
    const path = `M ${end} ${bottom} L ${end} ${here + 12} C ${end} ${here - 14}, ${end + bend} ${here - 6}, ${end + bend} ${Math.max(top + 20, here - 46)} L ${end + bend} ${top + 4}`
    if (bend) {
      svg.append(shape("path", { class: broken ? "path bent broken" : "path bent", d: path }))
      svg.append(shape("line", { class: "arrow", x1: end + 3, x2: end + bend - 9, y1: here, y2: here }))
      svg.append(shape("path", { class: "head", d: `M ${end + bend} ${here} l -11 -6 l 0 12 z` }))
      svg.append(shape("text", { class: "push", x: end + bend + 8, y: here + 5 }, `${what} ${dose.said}`))
    }
    const parts = dose.at != null && !data.covered
    const place = dose.at ?? 0
    const own = base.pieces.length > place ? word(base.pieces, place)[0] : null
    if (own == null) svg.append(shape("text", { class: "out plain", x: end, y: top - 8, "text-anchor": "middle" }, "?"))
    else {
      const mine = parts && bend ? word(dose.pieces, place)[0] : null
      svg.append(shape("text", { class: "out plain", x: end - (mine ? 6 : 0), y: top - 8, "text-anchor": mine ? "end" : "middle" }, shown(own)))
      if (mine) {
        // Where the screen is narrow a long word ends at its edge.
        const long = end + bend - 4 + 0.62 * line * shown(mine).length > width
        svg.append(shape("text", { class: "out", x: long ? width - 2 : end + bend - 4, y: top - 8, "text-anchor": long ? "end" : "start" }, shown(mine)))
      }
      svg.append(shape("text", { class: "note", x: 12, y: top - 8 }, width > 500 ? "next word" : ""))
    }
    const said = at === 0 ? "no push" : `a push of ${dose.said}`
    svg.setAttribute("aria-label", `The words ${words.join(" ")} pass ${layers} layers, 0 to ${layers - 1}; at layer ${layer} ${said}. Next word without steering ${own == null ? "not written yet" : shown(own)}${parts ? `, with it ${shown(word(dose.pieces, place)[0])}` : ""}.`)
    caption.replaceChildren(
      "Every word you read here goes up through the ", term("layers", data.words.layer), " as a long list of numbers. At one layer we add the same small ",
      term("arrow", data.words.direction), " to that list, for every word. Drawn: the last word",
      dose.at ? " before the two texts part." : " before the answer begins.",
    )
  })
  return box
}
