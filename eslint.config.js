const browser = [
  "Blob", "File", "FileReader", "MutationObserver", "ResizeObserver", "URL", "addEventListener", "console", "crypto",
  "document", "getComputedStyle", "history", "location", "navigator", "performance", "requestAnimationFrame", "clearTimeout",
  "setInterval", "setTimeout", "window",
];
const node = ["Blob", "console", "setImmediate"];
const globals = (names) => Object.fromEntries(names.map((name) => [name, "readonly"]));

export default [
  {
    files: ["ui/*/*.js", "tests/js/*.js"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      complexity: ["error", 12],
      "consistent-this": "error",
      eqeqeq: "error",
      "getter-return": "error",
      "max-len": ["error", 120],
      "max-lines": ["error", 220],
      "no-dupe-keys": "error",
      "no-duplicate-imports": "error",
      "no-else-return": "error",
      "no-implicit-globals": "error",
      "no-redeclare": "error",
      "no-shadow": "error",
      "no-undef": "error",
      "no-unreachable": "error",
      "no-unused-vars": "error",
      "no-use-before-define": ["error", { functions: false, variables: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "prefer-template": "error",
      "require-await": "error",
    },
  },
  { files: ["ui/*/*.js"], languageOptions: { globals: globals(browser) } },
  { files: ["tests/js/*.js"], languageOptions: { globals: globals(node) } },
];
