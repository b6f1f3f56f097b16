// Runs a tenant's JavaScript in a process made for it: {code, input} as JSON on descriptor 0, the result on descriptor
// 3 as `O` and its JSON, or `E` and {code, message}. All that the tenant's code can spoil here is its own result.
"use strict";
// A scope of its own: the tenant may declare any name.
(() => {
  const fs = require("fs");
  const vm = require("vm");
  const CODE_FILE = "code.js";

  function write(text) {
    const data = Buffer.from(text);
    for (let at = 0; at < data.length; ) at += fs.writeSync(3, data, at);
  }

  function fail(code, message) {
    write("E" + JSON.stringify({ code, message: String(message).slice(0, 2000) }));
    process.exit(0);
  }

  function raised(error) {
    const place = /code\.js:(\d+)/.exec((error && error.stack) || "");
    const where = place ? ` (line ${place[1]} of the code)` : "";
    const text = error instanceof Error || (error && error.stack) ? `${error.name}: ${error.message}` : `threw ${error}`;
    if (/Array buffer allocation failed|Invalid array buffer length/.test(text))
      fail("out_of_memory", "the code must do with its memory limit; it asked for more");
    fail(/EAGAIN/.test(text) ? "too_many_processes" : "code_error", text + where);
  }

  function finite(key, value) {
    if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`${value} is no JSON`);
    return value;
  }

  function finish(output) {
    let text;
    try {
      text = JSON.stringify(output === undefined ? null : output, finite);
      if (text === undefined) throw new TypeError(`${typeof output} is no JSON`);
    } catch (error) {
      fail("invalid_output", `\`main\` must return JSON: null, booleans, finite numbers, text, lists, objects; ${error.message}`);
    }
    write("O" + text);
    process.exit(0);
  }

  // What is printed must leave at once: it is lost at the end, or fills the memory, where it is queued.
  for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);
  process.on("uncaughtException", raised);
  process.on("unhandledRejection", raised);
  const request = JSON.parse(fs.readFileSync(0, "utf8"));
  try {
    vm.runInThisContext(request.code, { filename: CODE_FILE });
    const main = vm.runInThisContext("typeof main === 'undefined' ? undefined : main");
    if (typeof main !== "function") fail("invalid_output", "the code must define a function `main(input)`; it has none");
    Promise.resolve(main(request.input)).then(finish, raised);
  } catch (error) {
    raised(error);
  }
})();
