// The page of emojivoto: a grid to vote with, the leaderboard, and what went wrong.
"use strict";

const REFRESH_MILLIS = 2000;
const LEADERS = 8;
const byId = (id) => document.getElementById(id);

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** ":jack_o_lantern:" is "jack o lantern". */
const spoken = (shortcode) => shortcode.replaceAll(":", "").replaceAll("_", " ");

async function get(path) {
  const response = await fetch(path);
  const text = await response.text();
  if (!response.ok) {
    let reason = text;
    try { reason = JSON.parse(text).error; } catch { /* not from web itself */ }
    throw new Error(`HTTP ${response.status}: ${reason || response.statusText}`);
  }
  return text ? JSON.parse(text) : null;
}

// Views

const views = ["vote", "leaderboard", "failure"];
let current = "";

function show(view) {
  current = view;
  for (const id of views) byId(id).hidden = id !== view;
  for (const link of document.querySelectorAll("nav a")) {
    link.classList.toggle("current", link.dataset.view === view);
  }
  if (view !== "failure") refresh();
}

function route() {
  show(location.pathname === "/leaderboard" ? "leaderboard" : "vote");
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (location.pathname !== link.pathname) history.pushState(null, "", link.href);
  show(link.dataset.view);
});
addEventListener("popstate", route);

// Voting

async function fillGrid() {
  const grid = byId("grid");
  try {
    const list = await get("/api/list");
    grid.replaceChildren(...list.map(({ shortcode, unicode }) => {
      const button = element("button", "", unicode);
      button.type = "button";
      button.title = spoken(shortcode);
      button.setAttribute("aria-label", `vote for ${spoken(shortcode)}`);
      button.addEventListener("click", () => vote(button, shortcode, unicode));
      return button;
    }));
    grid.setAttribute("aria-busy", "false");
    problem("");
    refresh();
  } catch (error) {
    problem(`The list of emojis cannot be loaded. ${error.message}`);
  }
}

async function vote(button, shortcode, unicode) {
  button.classList.add("busy");
  try {
    await get(`/api/vote?choice=${encodeURIComponent(shortcode)}`);
    button.classList.remove("voted");
    void button.offsetWidth; // The animation starts again.
    button.classList.add("voted");
    toast(`${unicode}  Your vote for ${spoken(shortcode)} counts`);
    refresh();
  } catch (error) {
    failure(shortcode, unicode, error.message);
  } finally {
    button.classList.remove("busy");
  }
}

function failure(shortcode, unicode, message) {
  byId("failure-emoji").textContent = unicode;
  byId("failure-name").textContent = spoken(shortcode);
  byId("failure-text").textContent = message;
  byId("failure-hint").textContent = shortcode === ":doughnut:"
    ? "This is the demo's fault, and it is intended: the mesh shows which service and which method fails. Look at the live table."
    : "Other votes may work. Look at the live table of the mesh for the service that fails.";
  show("failure");
}

let toastTimer;
function toast(text) {
  const toast = byId("toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("shown"), 2200);
}

// Results

async function refresh() {
  if (current === "failure" || document.hidden) return;
  if (current === "vote" && !byId("grid").childElementCount) return fillGrid();
  try {
    const results = await get("/api/leaderboard");
    if (current === "vote") bars(byId("leaders"), results.slice(0, LEADERS));
    if (current === "leaderboard") leaderboard(results);
    problem("");
  } catch (error) {
    problem(`The results cannot be loaded. ${error.message}`);
  }
}

function leaderboard(results) {
  const total = results.reduce((sum, result) => sum + Number(result.votes), 0);
  byId("total").textContent = total ? `${total.toLocaleString()} votes, ${results.length} emojis` : "No votes yet";
  const places = ["first", "second", "third"];
  const podium = results.slice(0, 3).map((result, index) => {
    const item = element("li", places[index]);
    const block = element("div", "block", Number(result.votes).toLocaleString());
    block.append(element("small", "", spoken(result.shortcode)));
    item.append(element("div", "emoji", result.unicode), block);
    return item;
  });
  // The winner stands in the middle.
  if (podium.length > 1) podium.splice(0, 2, podium[1], podium[0]);
  byId("podium").replaceChildren(...podium);
  byId("board").hidden = results.length <= 3;
  bars(byId("board"), results.slice(3), Number(results[0]?.votes ?? 0));
}

/** Changes the rows in place, so that their bars move. */
function bars(list, results, most = Number(results[0]?.votes ?? 0)) {
  while (list.childElementCount > results.length) list.lastElementChild.remove();
  results.forEach((result, index) => {
    const row = list.children[index] ?? list.appendChild(bar());
    const [emoji, name, votes, track] = row.children;
    emoji.textContent = result.unicode;
    name.textContent = spoken(result.shortcode);
    votes.textContent = Number(result.votes).toLocaleString();
    track.firstElementChild.style.width = `${most ? (100 * Number(result.votes)) / most : 0}%`;
  });
}

function bar() {
  const row = element("li");
  const track = element("span", "track");
  track.append(element("i"));
  row.append(element("span", "emoji"), element("span", "name"), element("span", "votes"), track);
  return row;
}

function problem(text) {
  byId("offline").textContent = text;
  byId("offline").hidden = !text;
}

route();
setInterval(refresh, REFRESH_MILLIS);
