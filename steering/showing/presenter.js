// Presentation mode: a slim bar and the keys of a clicker. Next (right arrow, page down) goes one step on, back (left
// arrow, page up) one step back. A player on the page takes the step; else the page scrolls to its next part.
// data: {guess}; on: {leave(), guess(on)}

const bars = new WeakMap()
const PARTS_OF_A_PAGE = '[data-testid="stHeading"], [data-testid="stPlotlyChart"], [class*="st-key-card_"], [data-testid="stDataFrame"]'

function scrollOn(direction) {
  const tops = [...new Set([...document.querySelectorAll(PARTS_OF_A_PAGE)].filter((e) => e.offsetParent)
    .map((e) => Math.round(e.getBoundingClientRect().top)))].sort((a, b) => a - b)
  const next = direction > 0 ? tops.find((top) => top > 90) : tops.findLast((top) => top < 40)
  const main = document.querySelector('[data-testid="stMain"]')
  if (main) main.scrollBy({ top: next === undefined ? direction * main.clientHeight * 0.8 : next - 60, behavior: "smooth" })
}

function presenter(root, data, on) {
  const covered = () => document.body.classList.contains("tiller-guess")
  const cover = (yes) => document.body.classList.toggle("tiller-guess", yes)
  const step = (direction) => {
    const event = new CustomEvent("tiller-step", { detail: direction, cancelable: true })
    if (!document.dispatchEvent(event)) return
    if (direction > 0 && covered()) { cover(false); return }
    scrollOn(direction)
  }
  const state = bars.get(root) || {}
  if (!bars.has(root)) {
    bars.set(root, state)
    const add = (text, title, act) => {
      const press = root.appendChild(document.createElement("button"))
      press.type = "button"
      press.textContent = text
      press.title = title
      press.onclick = () => act()
      return press
    }
    add("Back", "Left arrow or page up", () => state.step(-1))
    add("Next", "Right arrow, page down or space", () => state.step(1))
    state.guess = add("", "Hide the steered answers until the class has guessed", () => state.turn())
    add("Leave", "Escape", () => state.on.leave())
    document.addEventListener("keydown", (event) => {
      if (!root.isConnected || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return
      const target = event.composedPath()[0]
      const tag = target.tagName
      const writes = tag === "TEXTAREA" || target.isContentEditable || (tag === "INPUT" && target.type !== "range")
      const way = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1, " ": 1 }[event.key]
      if (writes || (event.key === " " && tag === "BUTTON")) return
      if (event.key === "Escape") state.on.leave()
      if (way === undefined) return
      event.preventDefault()
      state.step(way)
    })
  }
  Object.assign(state, { step, on, turn: () => on.guess(!data.guess) })
  state.guess.textContent = data.guess ? "Guess first: on" : "Guess first: off"
  state.guess.setAttribute("aria-pressed", !!data.guess)
  if (state.page !== data.page || state.was !== data.guess) cover(!!data.guess)
  Object.assign(state, { page: data.page, was: data.guess })
}
