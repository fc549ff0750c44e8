// A slider for a signed strength: filled from zero, the fluent range shaded, the raw value beside it.
// data: {label, value, low, high, step, note, help, band: [low, high] or null, disabled, fine}
// fine: the thumb's place is the square root of the value, so that small values have room.

const timers = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".strength")
  const input = root.querySelector("input")
  const out = root.querySelector("output")
  const fine = data.fine && data.high > 0 && data.low <= 0
  const side = (v) => (v < 0 ? -data.low : data.high)
  const to = (v) => (fine ? Math.sign(v) * Math.sqrt(Math.abs(v) / side(v)) : v)
  const ends = fine ? [data.low < 0 ? -1 : 0, 1] : [data.low, data.high]
  const finest = (v) => (Math.abs(v) < 0.1 ? 0.005 : Math.abs(v) < 0.5 ? 0.01 : 0.05)
  const rounded = (v) => Number((Math.round(v / finest(v)) * finest(v)).toFixed(4))
  const of = (p) => (fine ? rounded(Math.sign(p) * p * p * side(p)) : p)
  const place = (v) => (100 * (to(v) - ends[0])) / (ends[1] - ends[0])
  const digits = (String(data.step).split(".")[1] || "").length
  const written = (v) => (fine ? v.toFixed(4).replace(/(\.\d\d\d*?)0+$/, "$1") : v.toFixed(digits))
  const signed = (v) => (v > 0 && data.low < 0 ? "+" : v < 0 ? "−" : "") + written(Math.abs(v))

  const label = root.querySelector(".label")
  label.textContent = data.short
  label.classList.toggle("term", !!data.help)
  if (data.help) {
    label.tabIndex = 0
    const tip = label.appendChild(document.createElement("span"))
    tip.className = "tip"
    tip.textContent = data.help
  }
  root.querySelector(".note").textContent = data.note || ""
  root.querySelector(".note").title = data.detail || data.note || ""  // it is cut where the slider is narrow
  root.querySelector(".low").textContent = signed(data.low)
  root.querySelector(".high").textContent = signed(data.high)
  input.min = ends[0]
  input.max = ends[1]
  input.step = fine ? "any" : data.step
  input.disabled = !!data.disabled
  input.setAttribute("aria-label", data.label)
  if (parentElement.activeElement !== input || !timers.has(root)) input.value = to(data.value)

  const paint = () => {
    const v = of(+input.value)
    const zero = place(Math.max(data.low, Math.min(data.high, 0)))
    const at = place(v)
    const fill = root.querySelector(".fill")
    fill.style.left = `${Math.min(zero, at)}%`
    fill.style.width = `${Math.abs(at - zero)}%`
    root.classList.toggle("negative", v < 0)
    const band = root.querySelector(".band")
    band.hidden = !data.band
    if (data.band) {
      const from = Math.max(data.low, data.band[0])
      band.style.left = `${place(from)}%`
      band.style.width = `${place(Math.min(data.high, data.band[1])) - place(from)}%`
    }
    out.textContent = signed(v)
    input.setAttribute("aria-valuetext", `${signed(v)} ${data.note || ""}`)
  }
  // The first step of a move goes out at once, the later ones every 80 ms, the last one always.
  const send = () => { timers.delete(root); setStateValue("value", of(+input.value)) }
  input.oninput = () => {
    paint()
    if (timers.has(root)) { root.dataset.late = "1"; return }
    setStateValue("value", of(+input.value))
    timers.set(root, setTimeout(() => {
      if (root.dataset.late) send()
      else timers.delete(root)
      delete root.dataset.late
    }, 80))
  }
  // A key moves the value by one step, wherever the thumb stands.
  input.onkeydown = (event) => {
    const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key]
    if (!fine || way === undefined) return
    event.preventDefault()
    const v = of(+input.value)
    input.value = to(Math.max(data.low, Math.min(data.high, rounded(v + way * finest(v + way * 1e-6)))))
    input.oninput()
  }
  paint()
}
