// What to call a face's emotion. The server says which faces are unclear.

// As deepfer.face.Face.label: "happy", or "unclear: neutral or angry?".
export function faceLabel({ emotion, unclear, probabilities }) {
  if (!unclear) return emotion;
  const others = Object.keys(probabilities).filter((label) => label !== emotion);
  const next = others.reduce((best, label) => (probabilities[label] > probabilities[best] ? label : best));
  return `unclear: ${emotion} or ${next}?`;
}

export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);
