"""Every limit on what comes from outside, with its reason, in one place."""

MAX_FILE_BYTES = 100_000_000  # a 50-megapixel camera's largest JPEG is about 40 MB, its PNG about 90
MAX_PIXELS = 64_000_000  # checked in the header, before decoding; RGB of this size takes 192 MB
MAX_FACES = 256  # the largest faces are kept: more than a class photo holds, and a bound on time and memory
MAX_MODEL_BYTES = 100_000_000  # ResNet50V2 in float32 is 94 MB; a larger file is no small face model
MAX_TENSOR_BYTES = 1_000_000_000  # all of a model's tensors together; ResNet50V2 at 224 pixels has about 300 MB
HUB_TIMEOUT_S = 8.0  # how long the Hub may be silent; with set-up before it, that is told within 15 s
MAX_CONFIG_BYTES = 1_000_000  # a checkpoint's config.json has a few kilobytes
