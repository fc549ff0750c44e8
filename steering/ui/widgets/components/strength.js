// A slider for a signed strength: filled from zero, the fluent range shaded, the raw value beside it.
// data: {label, value, low, high, step, note, text, band: [low, high] or null, disabled}

const timers = new WeakMap()

export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".strength")
  const input = root.querySelector("input")
  const out = root.querySelector("output")
  const place = (v) => (100 * (v - data.low)) / (data.high - data.low)
  const digits = (String(data.step).split(".")[1] || "").length
  const signed = (v) => (v > 0 && data.low < 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(digits)

  root.querySelector(".label").textContent = data.short
  root.querySelector(".note").textContent = data.note || ""
  root.querySelector(".note").title = data.note || ""  // it is cut where the slider is narrow
  root.querySelector(".low").textContent = signed(data.low)
  root.querySelector(".high").textContent = signed(data.high)
  input.min = data.low
  input.max = data.high
  input.step = data.step
  input.disabled = !!data.disabled
  input.setAttribute("aria-label", data.label)
  if (parentElement.activeElement !== input || !timers.has(root)) input.value = data.value

  const paint = () => {
    const v = +input.value
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
  const send = () => { timers.delete(root); setStateValue("value", +input.value) }
  input.oninput = () => {
    paint()
    if (timers.has(root)) { root.dataset.late = "1"; return }
    setStateValue("value", +input.value)
    timers.set(root, setTimeout(() => {
      if (root.dataset.late) send()
      else timers.delete(root)
      delete root.dataset.late
    }, 80))
  }
  paint()
}
