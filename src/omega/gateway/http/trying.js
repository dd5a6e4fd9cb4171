"use strict";
// Operations of the page /api/docs, tried from it. Whatever comes from the gateway is put on the page as text, never as markup.

const LARGEST = 256 * 1024; // most of a body that is shown, in characters: a stream may go on for ever

const key = document.getElementById("key");

// What turns the order of letters around, or takes no room, is written out.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;
const visible = (text) => text.replace(hidden, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

const element = (name, facts = {}, ...children) => {
  const made = document.createElement(name);
  for (const [fact, value] of Object.entries(facts)) made.setAttribute(fact, value);
  made.append(...children.map((each) => (typeof each === "string" ? visible(each) : each)));
  return made;
};

// -- what is sent

// The request that a form stands for. Throws where a field is wrong, in words for whoever filled it in.
const request = (form) => {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const field of form.querySelectorAll("input")) {
    const value = field.value.trim();
    if (!value && field.required) throw Object.assign(new Error(`${field.name} is needed`), { field });
    if (field.dataset.in === "path") path = path.replace(`{${field.name}}`, () => encodeURIComponent(value));
    else if (value && field.dataset.in === "query") query.set(field.name, value);
    else if (value) headers[field.name] = value;
  }
  const text = form.querySelector("textarea");
  if (text && text.value.trim()) {
    try {
      JSON.parse(text.value);
    } catch (error) {
      throw Object.assign(new Error(`the body is no JSON: ${error.message}`), { field: text });
    }
    headers["content-type"] = "application/json";
  }
  const shown = key.value.trim();
  if (shown) headers.authorization = `Bearer ${shown}`;
  const given = { method: form.dataset.verb, headers, credentials: shown ? "omit" : "same-origin", cache: "no-store", redirect: "manual" };
  if (headers["content-type"]) given.body = text.value;
  return [query.size ? `${path}?${query}` : path, given];
};

// -- what comes back

const told = (form, text, wrong) => {
  const answer = form.querySelector(".answer");
  answer.replaceChildren(element("p", { class: wrong ? "told wrong" : "told" }, text));
  return answer;
};

const pretty = (text) => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

// The body as far as it came, shown while it comes; a stream ends when somebody stops it.
const read = async (answer, shown) => {
  const reader = answer.body ? answer.body.getReader() : null;
  const decoder = new TextDecoder();
  let text = "";
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
    if (text.length > LARGEST) {
      await reader.cancel();
      return `${text.slice(0, LARGEST)}\n(more was sent than is shown here)`;
    }
    shown.textContent = visible(text);
  }
  return text;
};

// A refusal in words: its code, what happened, and what to do.
const problem = (text) => {
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    return [];
  }
  if (!said || typeof said.code !== "string" || !/^OMG-[A-Z][0-9]{3}$/.test(said.code)) return [];
  const link = element("a", { href: `/api/docs/errors#${said.code.toLowerCase()}` }, said.code);
  return [link, `: ${[said.detail, said.advice].filter((each) => typeof each === "string" && each).join("; ")}`];
};

const show = async (form, answer, began) => {
  const took = Math.round(performance.now() - began);
  const kind = answer.headers.get("content-type") || "no content";
  const place = told(form, `${answer.status} ${answer.statusText}, ${took} ms, ${kind}`.replace(" ,", ","), !answer.ok);
  const rows = [...answer.headers].map(([name, value]) =>
    element("tr", {}, element("th", { scope: "row" }, element("code", {}, name)), element("td", {}, value)));
  const shown = element("pre", { tabindex: "0", "aria-label": "body of the answer" });
  place.append(element("h5", {}, "body"), shown, element("h5", {}, "headers"), element("table", {}, element("tbody", {}, ...rows)));
  const text = await read(answer, shown);
  shown.textContent = visible(pretty(text));
  const said = answer.ok ? [] : problem(text);
  if (said.length) place.firstChild.after(element("p", { class: "told wrong" }, ...said));
};

// -- sending

const send = async (form) => {
  const [go, stop] = form.querySelectorAll("button");
  let wanted;
  try {
    wanted = request(form);
  } catch (error) {
    told(form, error.message, true);
    error.field.focus();
    return;
  }
  const stopping = new AbortController();
  const end = () => stopping.abort();
  stop.addEventListener("click", end);
  go.disabled = true;
  stop.hidden = false;
  told(form, "sent; the answer is waited for", false);
  const began = performance.now();
  try {
    await show(form, await fetch(wanted[0], { ...wanted[1], signal: stopping.signal }), began);
  } catch (error) {
    const place = form.querySelector(".answer");
    const why = stopping.signal.aborted ? "stopped" : `no answer came: ${error.message}`;
    if (place.querySelector("pre")) place.append(element("p", { class: "told wrong" }, why));
    else told(form, why, true);
  } finally {
    stop.removeEventListener("click", end);
    const held = document.activeElement === stop || document.activeElement === document.body;
    stop.hidden = true;
    go.disabled = false;
    if (held) go.focus({ preventScroll: true });
  }
};

// A fresh key for what demands one; whoever wants a repeat keeps it.
const fresh = () => [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");

for (const form of document.querySelectorAll("form.try")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
  const once = form.querySelector('input[name="Idempotency-Key"]');
  if (once) once.value = fresh();
  form.hidden = false;
}
const whose = document.getElementById("whose");
whose.addEventListener("submit", (event) => event.preventDefault());
whose.hidden = false;
