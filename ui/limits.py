"""Every limit of the page, with its reason. The environment overrides them as it does those in `deepfer/limits.py`."""

from deepfer.limits import limit

# The bytes of a webcam frame. Those that the page sends, 480 pixels wide, have about 25,000.
MAX_FRAME_BYTES = limit("MAX_FRAME_BYTES", 400_000)
# Pixels of a frame's longer side, checked in its header before decoding.
MAX_FRAME_SIDE = limit("MAX_FRAME_SIDE", 1280)
# Seconds to decode a frame, estimated from its header. The page's own frames take about 2 ms.
MAX_FRAME_DECODE_S = limit("MAX_FRAME_DECODE_S", 0.2)
# Visitors with a camera on at the same time: two cores give each about one result per second.
MAX_VISITORS = limit("MAX_VISITORS", 64)
# The same from one address: a classroom, but no more than a quarter of the places.
MAX_CLIENT_VISITORS = limit("MAX_CLIENT_VISITORS", 16)
# A visitor is forgotten after this time without a frame. A tab may be hidden for a moment.
VISITOR_SILENCE_S = limit("VISITOR_SILENCE_S", 60.0)
# A frame that waits longer is dropped: its result would show where the face was, not where it is.
VISITOR_WAIT_S = limit("VISITOR_WAIT_S", 0.3)
# Characters of the header Accept-Language that are read. A browser with five languages sends about 60.
MAX_LANGUAGE_CHARS = limit("MAX_LANGUAGE_CHARS", 400)
# The bytes of an upload: four minutes of a phone's 1080p video.
MAX_UPLOAD_BYTES = limit("MAX_UPLOAD_BYTES", 500_000_000)
# The bytes of any other request's body. A webcam frame as text has at most half of this.
MAX_BODY_BYTES = limit("MAX_BODY_BYTES", 1_000_000)
# Files in one request. The page and gradio_client send one at a time.
MAX_UPLOAD_FILES = limit("MAX_UPLOAD_FILES", 8)
# Photos that a visitor sends at a time. They take one place in the queue, about two seconds on one core.
MAX_PHOTOS = limit("MAX_PHOTOS", 12)
# Bytes on disk for all visitors together: twenty of the largest uploads.
MAX_KEPT_BYTES = limit("MAX_KEPT_BYTES", 10_000_000_000)
# Files and folders on disk for all visitors together. Listing them takes about 0.1 s.
MAX_KEPT_FILES = limit("MAX_KEPT_FILES", 20_000)
# Uploads and results are deleted after this time, which is long enough to view and save them.
UPLOAD_AGE_S = limit("UPLOAD_AGE_S", 3600.0)
# The same while more than half of MAX_KEPT_BYTES or MAX_KEPT_FILES is in use. It is long enough to fetch the result.
CROWDED_AGE_S = limit("CROWDED_AGE_S", 120.0)
# How long a request may pause in its body. A phone's network may drop out for some seconds.
BODY_SILENCE_S = limit("BODY_SILENCE_S", 20.0)
# The minimum average rate of a body after BODY_SILENCE_S. A phone with one bar of signal has about 10,000.
MIN_BODY_BYTES_S = limit("MIN_BODY_BYTES_S", 4000)
# Time for a request's headers, which arrive in one packet, and for the client to accept 64 KB of the response.
HEADERS_S = limit("HEADERS_S", 20.0)
# Connections open at the same time. Each takes a file descriptor, of which a process commonly has 1,024.
MAX_CONNECTIONS = limit("MAX_CONNECTIONS", 512)
# Requests in progress for one client address, if that is known. A class behind one router has about 90.
MAX_CLIENT_REQUESTS = limit("MAX_CLIENT_REQUESTS", 100)
# Visitors whose page state Gradio keeps, a fifth of a megabyte each.
MAX_SESSIONS = limit("MAX_SESSIONS", 256)
# Videos in the line, including the one that is being processed. The last one waits for half an hour or so. Each holds
# one of Gradio's 40 threads while it waits.
MAX_VIDEO_LINE = limit("MAX_VIDEO_LINE", 24)
# Images and videos waiting in the queue. Any more are refused with a message.
MAX_WAITING = limit("MAX_WAITING", 128)
