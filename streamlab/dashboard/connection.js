// When the server has ended, or the machine has slept: the page says so, and is loaded anew once it can be.
const LOST_EVERY_MS = 2000;

window.streamlabLost = () => {
  if (document.querySelector(".sl-lost")) return;
  const banner = document.createElement("div");
  banner.className = "sl-lost";
  banner.setAttribute("role", "alert");
  banner.textContent = "✗ The dashboard does not answer: what is shown is as it was. This page goes on when it is back.";
  document.querySelector("main").prepend(banner);
  const timer = setInterval(async () => {
    const answer = await fetch(location.href, { cache: "no-store" }).catch(() => undefined);
    if (answer?.ok) location.reload();
    if (answer?.status !== 403) return;
    clearInterval(timer);
    banner.textContent = "✗ The dashboard was started again, with another token: open the address that it has printed.";
  }, LOST_EVERY_MS);
};
