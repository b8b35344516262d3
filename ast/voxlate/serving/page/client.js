// Talk to the server that this page comes from. All addresses are relative, so that it may have a prefix.

const KEY = "voxlate-api-key";

export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => sessionStorage.setItem(KEY, key),
  forget: () => sessionStorage.removeItem(KEY),
};

// A failure with a message for the user. `status` is that of HTTP, 0 without an answer; `retrySeconds` is set if the
// same request may succeed later.
export class ServerError extends Error {
  constructor(message, status = 0, retrySeconds = undefined) {
    super(sentence(message));
    Object.assign(this, { status, retrySeconds });
  }
}

// The server's messages begin in lower case and have no period.
function sentence(message) {
  const begun = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

const authorization = () => (apiKey.get() ? { Authorization: `Bearer ${apiKey.get()}` } : {});

function failure(status, text, retryAfter) {
  let message;
  try {
    const { error, detail } = JSON.parse(text);
    message = error?.message ?? error ?? detail;
  } catch { /* not from Voxlate: a proxy, for instance */ }
  if (typeof message !== "string" || !message) message = `The server answered with status ${status}.`;
  const isTemporary = status === 429 || status === 503;
  return new ServerError(message, status, isTemporary ? Math.min(Math.max(Number(retryAfter) || 5, 1), 60) : undefined);
}

// Return the models as [{name, languages}], without the names that include a language.
export async function fetchModels() {
  let response;
  try {
    response = await fetch("v1/models", { headers: authorization(), cache: "no-store" });
  } catch {
    throw new ServerError("The server does not answer. Is it still running?");
  }
  const text = await response.text();
  if (!response.ok) throw failure(response.status, text, response.headers.get("Retry-After"));
  const { data } = JSON.parse(text);
  const names = new Set(data.map(({ id }) => id));
  const isVariant = (id) => names.has(id.slice(0, Math.max(0, id.lastIndexOf(":"))));
  return data.filter(({ id, target_languages: languages }) => languages?.length && !isVariant(id))
    .map(({ id, target_languages: languages }) => ({ name: id, languages }));
}

// Return a function that takes all text received so far, and calls `handle` with each new event's data.
function eventReader(handle) {
  let read = 0;
  return (received) => {
    for (let end = nextEnd(received, read); end; end = nextEnd(received, read)) {
      const lines = received.slice(read, end.index).split(/\r?\n/);
      read = end.index + end[0].length;
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      if (data.length) handle(data.join("\n"));
    }
  };
}

function nextEnd(text, from) {
  const ends = /\r?\n\r?\n/g;
  ends.lastIndex = from;
  return ends.exec(text);
}

// Send a file, and call `on.sent` with the share that is uploaded, and `on.segment` with each segment.
// Resolve with the last event, {duration, ...}. `signal` aborts. XMLHttpRequest, since fetch reports no upload progress.
export function translate({ file, name, model, language }, on, signal) {
  const form = new FormData();
  form.append("model", model);
  form.append("to_language", language);
  form.append("stream", "true");
  form.append("file", file, name); // last, so that the server can check the rest before it arrives
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let result, error;
    let isSent = false;
    const read = eventReader((data) => {
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) error = new ServerError(event.error.message ?? String(event.error), 200);
      else if (event.type === "transcript.text.delta" && event.segment) on.segment(event.segment);
      else if (event.type === "transcript.text.done") result = event;
    });
    const isStream = () => request.status === 200;
    request.upload.addEventListener("progress", (event) => event.lengthComputable && on.sent(event.loaded / event.total));
    request.upload.addEventListener("load", () => { isSent = true; on.sent(1); });
    request.addEventListener("progress", () => isStream() && read(request.responseText));
    request.addEventListener("load", () => {
      if (!isStream()) return reject(failure(request.status, request.responseText, request.getResponseHeader("Retry-After")));
      read(request.responseText);
      if (result && !error) resolve(result);
      else reject(error ?? new ServerError("The server ended its answer too early."));
    });
    request.addEventListener("error", () => reject(error ?? new ServerError(isSent
      ? "The connection to the server was lost."
      : "The server closed the connection during the upload. The file may be larger than it accepts.")));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    signal.addEventListener("abort", () => request.abort());
    request.open("POST", "v1/audio/translations");
    for (const [header, value] of Object.entries(authorization())) request.setRequestHeader(header, value);
    request.send(form);
  });
}
