"use strict";
// The pages /passkeys and /approvals. Whatever comes from the gateway is put on the page as text, never as markup.

const told = document.getElementById("told");
const content = document.getElementById("content");
const heading = document.querySelector("h1");

// What turns the order of letters around, or takes no room, is written out: nobody approves a text that reads otherwise than it is.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;
const visible = (text) => text.replace(hidden, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

const element = (name, facts = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(facts)) {
    if (key === "click" || key === "submit") made.addEventListener(key, value);
    else made.setAttribute(key, key === "href" ? value : visible(value));
  }
  made.append(...children.map((each) => (typeof each === "string" ? visible(each) : each)));
  return made;
};

const say = (text, wrong = false) => {
  told.className = wrong ? "wrong" : "";
  told.textContent = visible(text);
};

// -- the gateway

const ask = async (path, body) => {
  const given = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  const answer = await fetch(path, { ...given, credentials: "same-origin", cache: "no-store" });
  const found = await answer.json().catch(() => ({}));
  if (answer.ok) return found;
  if (answer.status === 401) throw new Error("nobody is signed in here: open a sign-in link of omega mfa page, then come back");
  throw new Error([found.detail || `the gateway answered ${answer.status}`, found.advice].filter(Boolean).join("; "));
};

// -- the key

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (letter) => letter.charCodeAt(0));
const spelled = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const known = (list) => list.map((each) => ({ ...each, id: bytes(each.id) }));

const answered = (made, parts) => ({
  id: made.id,
  rawId: spelled(made.rawId),
  type: made.type,
  response: Object.fromEntries(parts.filter((part) => made.response[part]).map((part) => [part, spelled(made.response[part])])),
});

const prove = async ({ ceremony, options }) => {
  const publicKey = { ...options, challenge: bytes(options.challenge), allowCredentials: known(options.allowCredentials) };
  const made = await navigator.credentials.get({ publicKey });
  return { ceremony, answer: answered(made, ["clientDataJSON", "authenticatorData", "signature", "userHandle"]) };
};

const create = async ({ ceremony, options }) => {
  const publicKey = {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: known(options.excludeCredentials),
  };
  const made = await navigator.credentials.create({ publicKey });
  return { ceremony, answer: answered(made, ["clientDataJSON", "attestationObject"]) };
};

// One thing at a time: buttons rest while a key is asked for, and what went wrong is said where a reader hears it.
const doing = (work) => async (event) => {
  event.preventDefault();
  const buttons = [...document.querySelectorAll("button")];
  buttons.forEach((each) => { each.disabled = true; });
  try {
    await work(event);
  } catch (error) {
    const dropped = error.name === "NotAllowedError" || error.name === "AbortError";
    const there = error.name === "InvalidStateError";
    say(dropped ? "the key was not touched, or not in time; try again" : there ? "this key is registered already" : error.message, true);
  } finally {
    buttons.forEach((each) => { each.disabled = false; });
  }
};

const day = (text) => (text ? new Date(text).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "");

// -- /passkeys

const keys = async () => {
  const mine = await ask("/passkeys/mine");
  content.replaceChildren(
    element("p", {}, `a security key, or the fingerprint reader of this machine, as the second factor of ${mine.person}`),
    element("h2", {}, "registered"),
    mine.keys.length ? element("ul", {}, ...mine.keys.map(entry)) : element("p", {}, "none yet"),
  );
  if (mine.here) {
    const named = location.protocol === "http:" && location.hostname !== "localhost";
    content.append(element("p", {}, mine.here, ". ", named ? element("a", { href: `http://localhost:${location.port}/passkeys` }, "open it at localhost") : ""));
    return;
  }
  const code = element("input", { name: "code", inputmode: "numeric", autocomplete: "one-time-code", pattern: "[0-9]{6}", maxlength: "6" });
  const name = element("input", { name: "name", required: "", maxlength: "64", autocomplete: "off", placeholder: "blue key" });
  content.append(
    element("h2", {}, mine.keys.length ? "register another" : "register one"),
    element("form", { submit: doing(() => register(name.value.trim(), code.value)) },
      element("label", {}, "name", name),
      ...(mine.code && !mine.keys.length ? [element("label", {}, "code of your authenticator app", code)] : []),
      element("button", {}, "register a passkey")),
  );
};

const entry = (key) => {
  const used = key.used ? `last used ${day(key.used)}` : "never used";
  const state = key.copied ? "refused: there may be a copy of it" : used;
  return element("li", {},
    element("div", {}, element("strong", {}, key.name), element("span", {}, `since ${day(key.made)}, at ${key.origin}`), element("span", {}, state)),
    element("button", { class: "plain", "aria-label": `remove ${key.name}`, click: doing(() => remove(key)) }, "remove"));
};

const register = async (name, code) => {
  const wanted = await ask("/passkeys/ask", { for: "register" });
  let proof = wanted.code ? { code } : {};
  if (wanted.prove) {
    say("touch a key that is registered already");
    proof = await prove(wanted.prove);
  }
  say("touch the new key");
  const said = await create(wanted.create);
  await ask("/passkeys/register", { name, said, proof });
  await keys();
  say(`registered: ${name}`);
};

const remove = async (key) => {
  const { prove: wanted } = await ask("/passkeys/ask", { for: "remove", key: key.id });
  say(`touch a key to remove ${key.name}`);
  await ask("/passkeys/remove", { key: key.id, proof: await prove(wanted) });
  await keys();
  say(`removed: ${key.name}`);
};

// -- /approvals

const place = (one) => `/approvals?${new URLSearchParams({ execution: one.execution, step: one.position })}`;
const factors = new Map([["webauthn", "your passkey"], ["step-up", "your second factor"]]);
const needs = (one) => factors.get(one.role) || `a person of role ${one.role}`;

const approvals = async () => {
  const given = new URLSearchParams(location.search);
  if (given.get("execution")) {
    await detail(given.get("execution"), given.get("step") || "");
    return;
  }
  const { waiting } = await ask("/approvals/waiting");
  content.replaceChildren(waiting.length
    ? element("ul", {}, ...waiting.map((one) => element("li", {},
      element("div", {}, element("strong", {}, one.flow || one.run),
        element("span", {}, `${one.principal} asks, in the run ${one.run}; it needs ${needs(one)}`), element("span", {}, one.reason)),
      element("a", { href: place(one), "aria-label": `look at ${one.flow || one.run}` }, "look"))))
    : element("p", {}, "nothing waits for you"));
};

const detail = async (execution, step) => {
  const one = await ask(`/approvals/one?${new URLSearchParams({ execution, step })}`);
  heading.textContent = visible(`approve ${one.flow || one.run}`);
  document.title = `omega: ${heading.textContent}`;
  const rows = [
    ["asked by", one.principal],
    ["run", `${one.run}, ${one.execution}, since ${day(one.started)}`],
    ["step", one.step],
    ["effect", one.effect],
    ["needs", needs(one)],
    ["policy", `${one.policies.join(", ")}${one.where ? ` (${one.where})` : ""}`],
    ["why", one.reason],
    ["message", one.message],
    ["until", day(one.until)],
    ["approved by", one.approved_by.join(", ")],
  ];
  content.replaceChildren(
    element("dl", {}, ...rows.filter(([, text]) => text).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]),
      element("dt", {}, "input of the run"),
      element("dd", {}, one.withheld ? one.withheld : element("pre", { tabindex: "0", "aria-label": "input of the run" }, JSON.stringify(one.input, null, 2)))),
    element("div", { class: "choices" },
      element("button", { click: doing(() => decide(one, "approve")) }, "approve with a passkey"),
      element("button", { class: "plain", click: doing(() => decide(one, "cancel")) }, "deny with a passkey")),
    element("p", {}, "to deny ends the run; what it did and can undo is undone"),
  );
};

const decide = async (one, verb) => {
  const asked = await ask("/passkeys/ask", { for: verb, execution: one.execution, step: one.position });
  say(verb === "approve" ? "touch your key to approve" : "touch your key to deny");
  const passkey = await prove(asked.prove);
  const body = verb === "approve" ? { step: asked.step, passkey } : { passkey };
  await ask(`/api/v1/executions/${encodeURIComponent(one.execution)}/${verb}`, body);
  content.replaceChildren(element("p", {}, element("a", { href: "/approvals" }, "what else waits")));
  say(verb === "approve" ? `approved: ${one.flow || one.run}` : `denied, and the run ends: ${one.run}`);
  heading.focus();
};

// -- begin

const pages = { keys, approvals };
const begin = pages[document.body.dataset.page];
document.querySelectorAll("nav a").forEach((link) => {
  if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
});
if (!window.PublicKeyCredential && location.hostname === "localhost") say("this browser has no passkeys", true);
begin().catch((error) => say(error.message, true));
