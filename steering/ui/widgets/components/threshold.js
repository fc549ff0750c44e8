// Histograms of several groups over one scale, with a threshold line that can be dragged or moved by the arrow keys.
// data: {title, groups: [{name, color, values (sorted), dotted}], low, high, tau, unit}
// The shares above the line are counted here, so that they follow the pointer; the server hears of it on release.

const NS = "http://www.w3.org/2000/svg"
const BINS = 44
const H = 250, LEFT = 8, RIGHT = 8, TOP = 26, BOTTOM = 26
const sizes = new WeakMap()

export default function draw({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".threshold")
  const svg = root.querySelector("svg")
  // One unit is one pixel at any width, so that the numbers stay readable; a new width draws it anew.
  const watched = sizes.get(svg)
  if (watched) watched.disconnect()
  let tau = data.tau
  const W = Math.round(svg.getBoundingClientRect().width) || 640
  const again = new ResizeObserver(() => {
    const width = Math.round(svg.getBoundingClientRect().width)
    if (width && width !== W) draw({ data: { ...data, tau }, parentElement, setStateValue })
  })
  sizes.set(svg, again)
  again.observe(svg)
  const list = root.querySelector(".rates")
  root.querySelector(".title").textContent = data.title
  svg.setAttribute("viewBox", `0 0 ${W} ${H}`)
  const x = (v) => LEFT + ((W - LEFT - RIGHT) * (v - data.low)) / (data.high - data.low || 1)
  const back = (px) => data.low + ((data.high - data.low) * (px - LEFT)) / (W - LEFT - RIGHT)
  const add = (parent, name, attributes, text) => {
    const node = parent.appendChild(document.createElementNS(NS, name))
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value)
    if (text !== undefined) node.textContent = text
    return node
  }

  svg.replaceChildren()
  const width = (data.high - data.low) / BINS || 1
  const shares = data.groups.map((group) => {
    const counts = new Array(BINS).fill(0)
    for (const v of group.values) counts[Math.max(0, Math.min(BINS - 1, Math.floor((v - data.low) / width)))]++
    return counts.map((count) => count / Math.max(1, group.values.length))
  })
  const peak = Math.max(1e-9, ...shares.flat())
  const y = (share) => H - BOTTOM - ((H - TOP - BOTTOM) * share) / peak
  data.groups.forEach((group, g) => {
    let path = `M ${x(data.low)} ${y(0)}`
    shares[g].forEach((share, i) => {
      path += ` L ${x(data.low + i * width)} ${y(share)} L ${x(data.low + (i + 1) * width)} ${y(share)}`
    })
    path += ` L ${x(data.high)} ${y(0)} Z`
    add(svg, "path", {
      d: path, fill: group.color, "fill-opacity": 0.1, stroke: group.color, "stroke-width": 1.8,
      "stroke-dasharray": group.dotted ? "3 3" : "none", "stroke-linejoin": "round",
    })
  })
  add(svg, "line", { x1: LEFT, x2: W - RIGHT, y1: y(0), y2: y(0), class: "axis" })
  const span = data.high - data.low
  const round = (v) => (Math.abs(span) >= 20 ? v.toFixed(0) : Math.abs(span) >= 2 ? v.toFixed(1) : v.toFixed(2))
  for (let i = 0; i <= 4; i++) {
    const v = data.low + (span * i) / 4
    add(svg, "text", { x: x(v), y: H - 6, class: "tick", "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" },
      round(v).replace("-", "−"))
  }
  const handle = add(svg, "g", {
    class: "handle", tabindex: 0, role: "slider", "aria-label": "tau",
    "aria-valuemin": data.low, "aria-valuemax": data.high,
  })
  const line = add(handle, "line", { y1: 14, y2: y(0), class: "tau" })
  const grip = add(handle, "rect", { y: 2, width: 68, height: 18, rx: 9, class: "grip" })
  const text = add(handle, "text", { y: 15, class: "value", "text-anchor": "middle" })

  const paint = () => {
    const at = x(tau)
    line.setAttribute("x1", at)
    line.setAttribute("x2", at)
    const box = Math.max(LEFT, Math.min(W - RIGHT - 68, at - 34))
    grip.setAttribute("x", box)
    text.setAttribute("x", box + 34)
    const shown = Number(tau.toPrecision(3)).toString().replace("-", "−")
    text.textContent = `tau ${shown}`
    handle.setAttribute("aria-valuenow", tau)
    data.groups.forEach((group, g) => {
      const row = list.children[g] || list.appendChild(document.createElement("li"))
      if (!row.firstChild) row.append(...["i", "span", "b"].map((name) => document.createElement(name)))
      const above = group.values.filter((v) => v > tau).length
      row.children[0].style.borderTop = `3px ${group.dotted ? "dotted" : "solid"} ${group.color}`
      row.children[1].textContent = `${group.name} (${group.values.length})`
      row.children[2].textContent = `${((100 * above) / Math.max(1, group.values.length)).toFixed(0)}% above`
    })
    while (list.children.length > data.groups.length) list.lastChild.remove()
  }
  const set = (v) => { tau = Math.max(data.low, Math.min(data.high, v)); paint() }
  const from = (event) => {
    const box = svg.getBoundingClientRect()
    return back(((event.clientX - box.left) / box.width) * W)
  }
  let dragging = false
  svg.onpointerdown = (event) => { dragging = true; svg.setPointerCapture(event.pointerId); set(from(event)); handle.focus() }
  svg.onpointermove = (event) => { if (dragging) set(from(event)) }
  svg.onpointerup = () => { if (dragging) { dragging = false; setStateValue("tau", tau) } }
  handle.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key]
    if (!step) return
    event.preventDefault()
    set(tau + (step * span) / 200)
    setStateValue("tau", tau)
  }
  paint()
}
