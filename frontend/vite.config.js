// Builds the assets of the console into the Python package, with hashed names and a manifest.
import {readFileSync} from "node:fs";
import {defineConfig} from "vite";

// The icons of the navigation and of buttons, by their names at lucide.dev.
const ICONS = [
  "activity", "arrow-left", "check", "chevron-right", "circle-check", "circle-help", "circle-x", "copy", "gauge",
  "inbox", "key-round", "layers", "list", "log-out", "menu", "monitor", "moon", "octagon-alert", "plug", "refresh-cw",
  "rotate-cw", "search", "send", "server", "settings", "skull", "sun", "triangle-alert", "users", "waypoints", "x",
  "chart-column", "ban", "download", "history", "user-round", "radio", "tags", "pause", "play",
];

// One SVG file with a symbol for each icon: templates show one with <use href="...#name">.
function sprite() {
  const symbol = (name) => {
    const text = readFileSync(`node_modules/lucide-static/icons/${name}.svg`, "utf8");
    const shapes = text.slice(text.indexOf(">", text.indexOf("<svg")) + 1, text.lastIndexOf("</svg>"));
    return `<symbol id="${name}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"` +
      ` stroke-linecap="round" stroke-linejoin="round">${shapes.replaceAll(/\s*\n\s*/g, "")}</symbol>`;
  };
  return {
    name: "sprite",
    generateBundle() {
      const source = `<svg xmlns="http://www.w3.org/2000/svg">${ICONS.map(symbol).join("")}</svg>`;
      this.emitFile({type: "asset", name: "icons.svg", originalFileName: "icons.svg", source});
    },
  };
}

export default defineConfig({
  base: "",
  publicDir: false,
  plugins: [sprite()],
  build: {
    outDir: "../gateway/console/static",
    emptyOutDir: true,
    assetsDir: "",
    assetsInlineLimit: 0, // the content security policy allows no data: but for images
    manifest: true,
    modulePreload: false,
    // What knows light-dark() and nesting, so that neither is rewritten.
    target: ["chrome123", "firefox128", "safari17.5"],
    rollupOptions: {
      input: "src/console.js",
      onwarn: (warning, warn) => warning.code === "EVAL" || warn(warning), // htmx's, which its configuration turns off
    },
  },
});
