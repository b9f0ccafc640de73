// Whether dropped or chosen files can be a video.

import { t } from "../languages/translate.js";

// As deepfer.video_reader.SUFFIXES. A browser knows the type of some of them only.
const SUFFIX = /\.(mp4|m4v|mov|3gp|mkv|webm|avi|mpe?g|ts|wmv|flv|ogv)$/i;

export const isVideo = ({ name, type }) => type.startsWith("video/") || SUFFIX.test(name);

// What is wrong with files; "" if they are one video.
export function fault(files) {
  const wrong = files.find((file) => !isVideo(file));
  if (wrong) return t("DeepFER can't open {name} as a video. Try MP4, MOV, WebM, MKV or AVI.", { name: wrong.name });
  return files.length > 1 ? t("Please add one video at a time.") : "";
}
