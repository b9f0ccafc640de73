"""UploadParser: limits and counts what Gradio writes to disk during an upload."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from gradio import route_utils
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from ui.limits import MAX_UPLOAD_FILES
from ui.usage import USAGE, StorageFull


class UploadParser(route_utils.GradioMultiPartParser):
    """Gradio's parser of uploads, with limits.

    Gradio takes 1,000 files at a time, reads form fields of any size into memory although nothing needs them, and
    leaves the files of an interrupted upload on the disk.
    """

    def __init__(self, headers: Any, stream: Any, **options: Any) -> None:
        options |= {"max_files": MAX_UPLOAD_FILES, "max_fields": 0}
        super().__init__(headers, self._counted(stream), **options)

    @staticmethod
    async def _counted(stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        async for chunk in stream:
            USAGE.add(len(chunk))
            yield chunk

    def on_headers_finished(self) -> None:
        USAGE.add(files=1)
        super().on_headers_finished()

    async def parse(self) -> FormData:
        try:
            return await super().parse()
        except BaseException as error:  # also when the visitor leaves or the task is cancelled
            for file in self._files_to_close_on_error:
                file.close()
                Path(file.name).unlink(missing_ok=True)
            if isinstance(error, StorageFull):
                raise HTTPException(507, str(error)) from None
            raise


def limit_uploads() -> None:
    """Make Gradio parse uploads with `UploadParser`."""
    route_utils.GradioMultiPartParser = UploadParser  # type: ignore[misc]  # Gradio has no setting for it
