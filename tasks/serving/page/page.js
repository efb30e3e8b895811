// The page that asks. Every text from outside goes into the page by textContent, and links are http(s) alone.
"use strict";

const $ = (id) => document.getElementById(id);
const HELD = ["verbatim", "consistent"];
const REASONS = ["row_missing", "wrong_product", "false_claim", "poor_wording", "other"];
const KEPT = 20; // recent questions
let words = WORDS.en;
let talk = []; // questions of this conversation, oldest first
let shown = []; // what has been answered, newest first: [question, [[model, answer or error]]]

function made(tag, values = {}, ...inner) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(values)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inner.filter(Boolean));
  return element;
}

function stored(name, value) {
  try {
    if (value === undefined) return JSON.parse(localStorage.getItem(name));
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    return null; // a browser that keeps nothing
  }
}

async function asked(path, body) {
  let reply;
  try {
    const values = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    reply = await fetch(path, body === undefined ? {} : values);
  } catch {
    throw new Error(words.offline);
  }
  const told = await reply.json();
  if (!reply.ok) throw new Error(told.error.message);
  return told;
}

function linked(url, text) {
  if (!/^https?:\/\//i.test(url)) return made("span", { text });
  return made("a", { href: url, text, target: "_blank", rel: "noopener noreferrer" });
}

// A sentence with its mark; the mark is a word for those who do not see its colour.
function sentence(claim) {
  const holds = HELD.includes(claim.verdict);
  const mark = `${holds ? "✓" : "✗"} ${words[claim.verdict]}`;
  const text = holds ? made("span", { text: claim.text }) : made("s", { text: claim.text });
  const label = made("span", { class: "mark", text: mark });
  const why = !holds && claim.reason && made("span", { class: "note", text: `${words.why}: ${claim.reason}` });
  return made("li", { class: holds ? "holds" : "fails" }, text, " ", label, why && " ", why);
}

// The row's whole text with the quoted places marked. Places are in characters, which are not JavaScript's units.
function whole(row, quotes) {
  const letters = Array.from(row.content);
  const places = quotes.filter((q) => q.uid === row.uid).map((q) => [q.start, q.end]).sort((a, b) => a[0] - b[0]);
  const text = made("p", { class: "content" });
  let at = 0;
  for (const [start, end] of places) {
    if (start < at) continue;
    text.append(letters.slice(at, start).join(""), made("mark", { text: letters.slice(start, end).join("") }));
    at = end;
  }
  text.append(letters.slice(at).join(""));
  return text;
}

function rows(answer) {
  const quotes = answer.quotes;
  const uids = [...new Set(quotes.map((q) => q.uid))];
  return uids.map((uid) => {
    const own = quotes.filter((q) => q.uid === uid);
    const place = made("div");
    const open = made("details", {
      ontoggle: async () => {
        if (!open.open || place.childNodes.length) return;
        try {
          const row = await asked(`/v1/rows/${encodeURIComponent(uid)}?model=${encodeURIComponent(answer.model)}`);
          place.replaceChildren(whole(row, quotes));
        } catch (error) {
          place.replaceChildren(made("p", { class: "note", text: words.failed + error.message }));
        }
      },
    }, made("summary", { text: words.whole }), place);
    return made("figure", {},
      ...own.map((q) => made("blockquote", {}, made("mark", { text: q.text }))),
      made("figcaption", {},
        made("strong", { text: own[0].title }), ` ${uid}, ${words.line} ${own[0].line} `,
        linked(own[0].url, words.product)),
      open);
  });
}

function thumbs(answer) {
  const place = made("div", { class: "thumbs" });
  const given = async (body) => {
    try {
      await asked("/v1/feedback", { id: answer.id, ...body });
      place.replaceChildren(made("span", { role: "status", text: words.thanks }));
    } catch (error) {
      place.append(made("span", { role: "alert", text: words.failed + error.message }));
    }
  };
  const worse = () => {
    const choice = made("select", { id: `reason-${answer.id}` }, ...REASONS.map((r) => made("option", { value: r, text: words[r] })));
    const right = made("textarea", { id: `right-${answer.id}`, rows: 2, maxlength: 2000 });
    const form = made("form", {
      class: "reason",
      onsubmit: (event) => {
        event.preventDefault();
        given({ helpful: false, reason: choice.value, correct: right.value.trim() || null });
      },
    },
    made("label", { for: choice.id, text: words.reason }), choice,
    made("label", { for: right.id, text: words.right }), right,
    made("button", { type: "submit", text: words.send }));
    place.replaceChildren(form);
    choice.focus();
  };
  const button = (text, onclick) => made("button", { type: "button", class: "quiet small", text, onclick });
  place.append(button(words.good, () => given({ helpful: true })), button(words.bad, worse));
  return place;
}

function card(question, name, answer) {
  const heading = made("h3", { text: words[name] || name });
  if (answer instanceof Error) {
    return made("article", { class: "card" }, heading, made("p", { class: "fails", text: words.failed + answer.message }));
  }
  const state = made("p", { class: `state ${answer.state}` },
    made("strong", { text: words[answer.state] }), " ", made("span", { class: "note", text: words[`${answer.state}Told`] }));
  const inner = [heading, state];
  if ((models.get(name) || {}).simulated) inner.push(made("p", { class: "fails", text: words.simulated }));
  const bad = answer.claims.filter((c) => !HELD.includes(c.verdict));
  if (answer.state === "answered") inner.push(made("ul", { class: "claims" }, ...answer.claims.map(sentence)));
  if (answer.state === "which") {
    inner.push(made("div", { class: "row", role: "group", "aria-label": words.which },
      ...answer.options.map((o) => made("button", { type: "button", text: o.title, onclick: () => ask(question, o.uid, [name]) }))));
  }
  if (answer.quotes.length && answer.state !== "which") inner.push(made("h4", { text: words.source }), ...rows(answer));
  if (answer.state === "none" && answer.near.length) {
    inner.push(made("h4", { text: words.nearest }),
      made("ul", {}, ...answer.near.map((n) => made("li", {}, linked(n.url, n.title), ` ${n.uid}`))));
  }
  if (answer.state === "quoted" && answer.said) {
    const lines = answer.claims.length ? answer.claims.map(sentence) : [made("li", { class: "fails" }, made("s", { text: answer.said }))];
    const beside = !bad.length && answer.problems.map((p) => made("li", { class: "note", text: p }));
    inner.push(made("details", { class: "struck" }, made("summary", { text: words.struck }),
      made("ul", { class: "claims" }, ...lines, ...(beside || []))));
  }
  inner.push(thumbs(answer));
  return made("article", { class: "card", "aria-label": words[name] || name }, ...inner);
}

function draw() {
  $("answers").replaceChildren(...shown.map(([question, answers]) =>
    made("section", { class: "asked" }, made("h2", { text: question }),
      made("div", { class: "beside" }, ...answers.map(([name, answer]) => card(question, name, answer))))));
  $("new").hidden = !talk.length;
  $("talk").textContent = talk.length ? words.goesOn + talk[talk.length - 1] : "";
  const recent = stored("recent") || [];
  $("recent").replaceChildren(...(recent.length ? recent.map((q) => made("li", {},
    made("button", { type: "button", class: "link", text: q, onclick: () => ask(q) }))) : [made("li", { class: "note", text: words.nothing })]));
  $("forget").hidden = !recent.length;
}

async function ask(question, uid, names) {
  names = names || [...document.querySelectorAll("#models input:checked")].map((box) => box.value);
  $("trouble").hidden = true;
  $("progress").textContent = words.working;
  $("send").disabled = true;
  document.body.classList.add("busy");
  const body = (model) => ({ question, model, before: talk.slice(-6), ...(uid ? { uid } : {}) });
  const answers = await Promise.all(names.map(async (name) => {
    try {
      return [name, await asked("/v1/ask", body(name))];
    } catch (error) {
      return [name, error];
    }
  }));
  $("send").disabled = false;
  document.body.classList.remove("busy");
  $("progress").textContent = words.done; // for those who listen to the page: see page.css
  shown.unshift([question, answers]);
  talk.push(question);
  stored("recent", [question, ...(stored("recent") || []).filter((q) => q !== question)].slice(0, KEPT));
  draw();
}

function speak(language) {
  words = WORDS[language];
  stored("language", language);
  document.documentElement.lang = language;
  $("language").value = language;
  document.querySelectorAll("[data-word]").forEach((e) => { e.textContent = words[e.dataset.word]; });
  document.querySelectorAll("[data-label]").forEach((e) => e.setAttribute("aria-label", words[e.dataset.label]));
  document.querySelectorAll("#models span").forEach((e) => { e.textContent = words[e.dataset.name] || e.dataset.name; });
  draw();
}

const models = new Map();

async function begin() {
  const own = (navigator.language || "en").slice(0, 2);
  speak([stored("language"), own].find((l) => WORDS[l]) || "en");
  try {
    const { data } = await asked("/v1/models");
    data.forEach((model, number) => {
      models.set(model.id, model.shardtune);
      const box = made("input", { type: "checkbox", value: model.id, checked: number === 0 });
      $("models").append(made("label", {}, box, made("span", { "data-name": model.id })));
    });
    speak($("language").value);
    if (!data.length) throw new Error((await asked("/health")).models);
  } catch (error) {
    $("trouble").textContent = words.failed + error.message;
    $("trouble").hidden = false;
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question || !document.querySelector("#models input:checked")) return;
  $("question").value = "";
  ask(question);
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
$("new").addEventListener("click", () => { talk = []; shown = []; draw(); $("question").focus(); });
$("forget").addEventListener("click", () => { stored("recent", []); draw(); });
$("language").addEventListener("change", (event) => speak(event.target.value));
begin();
