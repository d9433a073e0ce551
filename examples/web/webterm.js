// The browser's half of webterm.py. Binary messages are bytes of the terminal, both ways. Text ones are JSON:
// {"rows", "columns"} when the window's size has changed, {"drawn"} for the bytes that are on the screen by now.
import { FitAddon } from "/addon-fit.mjs";
import { Terminal } from "/xterm.mjs";

const terminal = new Terminal({
  cursorBlink: true,
  fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
  fontSize: 14,
  scrollback: 5000,
  theme: { background: "#14171c", foreground: "#d7dce4", cursor: "#8ab4f8", selectionBackground: "#33435c" },
});
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(document.getElementById("terminal"));

// The token is good for one connection, so it need not stay in the address bar and the history.
const token = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const socket = new WebSocket(`ws://${location.host}/terminal?token=${encodeURIComponent(token)}`);
socket.binaryType = "arraybuffer";

function show(state, text) {
  document.body.dataset.state = state;
  document.getElementById("state").textContent = text;
}

function send(message) {
  if (socket.readyState === WebSocket.OPEN) socket.send(message);
}

function tellSize() {
  document.getElementById("size").textContent = `${terminal.cols} × ${terminal.rows}`;
  send(JSON.stringify({ rows: terminal.rows, columns: terminal.cols }));
}

const encoder = new TextEncoder();
terminal.onData((text) => send(encoder.encode(text)));
terminal.onBinary((bytes) => send(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0)))); // mouse reports
terminal.onResize(tellSize);
terminal.onTitleChange((title) => {
  document.title = document.getElementById("title").textContent = title || "webterm";
});
new ResizeObserver(() => fit.fit()).observe(document.getElementById("terminal"));

let wasOpen = false;
socket.onopen = () => {
  wasOpen = true;
  show("connected", "connected");
  fit.fit();
  tellSize();
  terminal.focus();
};
socket.onmessage = ({ data }) => {
  terminal.write(new Uint8Array(data), () => send(JSON.stringify({ drawn: data.byteLength })));
};
socket.onclose = ({ reason }) => {
  show("ended", wasOpen ? reason || "disconnected" : "refused: an address is good for one connection");
  terminal.options.cursorBlink = false;
  terminal.options.disableStdin = true;
};
