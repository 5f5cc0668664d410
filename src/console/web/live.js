// Tells a page when to look again: by server-sent events, or by the clock while there are none.

const POLL = 5000;
// Some states follow a change without a word of their own: a lane is held once its next job finds the breaker open.
const LIVE_POLL = 10_000;
const SETTLE = 400;

let source = null;
let timer = null;
let settling = null;
let look = null;
let shown = () => {};
let pressed = false;

function changed() {
  if (settling !== null) return;
  settling = setTimeout(() => {
    settling = null;
    // What is being pressed is not taken away.
    if (pressed) changed();
    // Nobody looks at a page behind another; it looks again when it comes to the front.
    else if (look && document.visibilityState === "visible") look();
  }, SETTLE);
}

function poll(every) {
  clearInterval(timer);
  timer = every === null ? null : setInterval(changed, every);
}

/** Begins to listen; `show` is told how. */
export function start(show) {
  shown = show;
  stop();
  source = new EventSource("/api/v1/live");
  source.addEventListener("open", () => {
    poll(LIVE_POLL);
    shown("live");
  });
  source.addEventListener("change", changed);
  source.addEventListener("error", () => {
    poll(POLL);
    shown("polling");
    // A browser gives up where the gateway refused; a gateway that was restarted is found by asking again.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => source?.readyState === EventSource.CLOSED && start(show), POLL);
  });
}

export function stop() {
  source?.close();
  source = null;
  poll(null);
}

/** What looks again from now on. */
export function watch(again) {
  look = again;
}

document.addEventListener("pointerdown", () => (pressed = true), true);
for (const end of ["pointerup", "pointercancel", "blur"]) window.addEventListener(end, () => (pressed = false), true);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && changed());
