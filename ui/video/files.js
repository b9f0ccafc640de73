// Whether dropped or chosen files can be a video.

// As deepfer.video_reader.SUFFIXES. A browser knows the type of some of them only.
const SUFFIX = /\.(mp4|m4v|mov|3gp|mkv|webm|avi|mpe?g|ts|wmv|flv|ogv)$/i;

export const isVideo = ({ name, type }) => type.startsWith("video/") || SUFFIX.test(name);

// What is wrong with files, in `words`; "" if they are one video.
export function fault(files, words) {
  const wrong = files.find((file) => !isVideo(file));
  if (wrong) return words.wrong.replace("{name}", () => wrong.name);
  return files.length > 1 ? words.several : "";
}
