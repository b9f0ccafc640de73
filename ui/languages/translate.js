// Messages in the visitor's language. head.html holds the catalogue; without one, as in a test, they are in English.

const CATEGORIES = ["zero", "one", "two", "few", "many", "other"]; // in the order of a catalogue's plural forms

// What the page is in: {language, messages}.
function page() {
  return globalThis.deepfer ?? { language: "en", messages: {} };
}

// A message, which stands here in English; {name} in it stands for a value.
export function t(message, values = {}) {
  return fill(page().messages[message] ?? message, values);
}

// A message about a number, {count}: in English one for 1 and one for other numbers.
export function plural(count, singular, several, values = {}) {
  const rules = new Intl.PluralRules(page().language);
  const { pluralCategories } = rules.resolvedOptions();
  const categories = CATEGORIES.filter((category) => pluralCategories.includes(category));
  const forms = page().messages[singular] ?? [singular, several];
  return fill(forms[categories.indexOf(rules.select(count))] ?? forms.at(-1), { count, ...values });
}

// A number in the language's form, with as many decimals.
export function decimal(value, digits = 0) {
  return format(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// A whole percentage, 0 to 100.
export function wholePercent(value) {
  return format(value / 100, { style: "percent", maximumFractionDigits: 0 });
}

function format(value, options) {
  return new Intl.NumberFormat(page().language, options).format(value);
}

// The replacement is a function because a file's name may contain "$&".
function fill(message, values) {
  return message.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}
