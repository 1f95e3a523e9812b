// Windows to choose among: the image's own, and by modality those that readers expect.
import { windowText } from "../format.js";

/** In the order of the keys 1 to 6; centre and width in Hounsfield units. */
const BY_MODALITY = {
  CT: [
    { name: "Brain", center: 40, width: 80 },
    { name: "Lung", center: -600, width: 1500 },
    { name: "Bone", center: 480, width: 2500 },
    { name: "Abdomen", center: 40, width: 400 },
    { name: "Mediastinum", center: 50, width: 350 },
    { name: "Liver", center: 90, width: 150 },
  ],
};
const KEYS = 6;

/**
 * Choices for an image: `{name, key, window}`, where `window` is what `WindowLevel.choose`
 * takes. The image's own first one has the key 0; what has no key is in the menu alone.
 *
 * @param explanations - names the file gives its windows (0028,1055), as far as known.
 */
export function choicesFor(modality, instance, explanations = []) {
  const presets = (BY_MODALITY[modality] ?? []).map((window) => ({ name: window.name, window }));
  const others = instance.windows.slice(1).map((window, index) => ({
    name: explanations[index + 1] || windowText(window),
    window: { own: index + 1 },
  }));
  const own = instance.windows.length ? explanations[0] || "As stored" : "Automatic";
  return {
    own: [{ name: own, key: "0", window: { own: 0 } }, ...keyed(presets.length ? [] : others)],
    others: presets.length ? others : [],
    presets: keyed(presets),
  };
}

const keyed = (choices) =>
  choices.map((choice, index) => ({ ...choice, key: index < KEYS ? String(index + 1) : "" }));
