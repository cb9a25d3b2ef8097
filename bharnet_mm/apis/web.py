"""``bharnet web``: serves a page for videos and the camera."""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BHaRNetError, ConfigError
from ..io.arguments import integer
from ..io.packages import import_package

if TYPE_CHECKING:
    from .inferencer import BodyHandInferencer
    from .results import Result

DESCRIPTION = """Opens a page on this machine: drop a video or record one with the camera, and see
skeleton, hands, labels and what each expert says."""

HEADERS = ['seconds', 'person', 'answer', 'body', 'hands', 'pictures']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        '--model',
        default='bharnet_light_asl10',
        help='a shipped model, a published or exported file, or a work folder of a training '
        '(bharnet_light_asl10)',
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to serve on (127.0.0.1)')
    parser.add_argument(
        '--port', type=integer(0, 65535), default=7860, help='port to serve on (7860)'
    )
    parser.add_argument('--backend', default='mediapipe', help='finds bodies and hands (mediapipe)')


def run(args: argparse.Namespace) -> int:
    """Serves the page until it is interrupted, and then removes all videos that it was given."""
    import_package('bharnet web', 'gradio')
    from .inferencer import BodyHandInferencer

    infer = BodyHandInferencer(args.model, backend=args.backend)
    with tempfile.TemporaryDirectory(prefix='bharnet_web_') as folder:
        os.environ['GRADIO_TEMP_DIR'] = folder
        page = build_page(infer, folder)
        print(f'{infer.card.name} on http://{args.host}:{args.port}', flush=True)
        page.launch(
            server_name=args.host, server_port=args.port, quiet=True, show_error=True, share=False
        )
    return 0


def build_page(infer: BodyHandInferencer, folder: str | os.PathLike) -> Any:
    """The page as a ``gradio.Blocks``.

    Args:
        infer: The inferencer, which answers one video at a time.
        folder: Where annotated videos are written.
    """
    import gradio as gr

    with gr.Blocks(title='BHaRNet', analytics_enabled=False) as page:
        gr.Markdown(
            f'## {infer.card.name}\nKnows {len(infer.classes)} classes: '
            f'{", ".join(infer.classes)}. '
            'Drop a video, or record one with the camera; what the model saw appears beside it.'
        )
        with gr.Row():
            source = gr.Video(label='video', sources=['upload', 'webcam'], height=360)
            drawn = gr.Video(show_label=False, autoplay=True, height=360)
        with gr.Row():
            said = gr.Textbox(label='answer of the first window', interactive=False)
            label = gr.Label(label='its classes', num_top_classes=5)
        table = gr.Dataframe(headers=HEADERS, label='all windows', interactive=False)

        def answer(path: str | None, progress=gr.Progress()):  # noqa: B008  gradio finds it there
            if path is None:
                return None, '', None, []
            try:
                return recognize(
                    infer, path, folder, lambda _, done, total: progress((done, total or None))
                )
            except BHaRNetError as error:
                said = str(error).replace(path, Path(path).name)
                raise gr.Error(said, duration=None, print_exception=False) from error

        source.change(
            answer, source, [drawn, said, label, table], concurrency_limit=1, api_name='answer'
        )
    return page


def recognize(
    infer: BodyHandInferencer,
    path: str,
    folder: str | os.PathLike,
    tick: Any = lambda name, done, total: None,
) -> tuple[str, str, dict[str, float], list[list[str]]]:
    """The content of the page for a video.

    Args:
        infer: The model.
        path: The video.
        folder: Where the annotated video is written, in a folder of its own.
        tick: Called with name, frames done and frames in all.

    Returns:
        Path of the annotated video, answer and probabilities of the first window, and one row of
        :data:`HEADERS` for each window and person.
    """
    from .results import save_results

    results = list(infer(path, tick=tick))
    if not results:
        raise ConfigError(Path(path).name, 'no frame', 'a video', 'record it again')
    drawn = Path(tempfile.mkdtemp(dir=folder)) / 'annotated.mp4'
    save_results(results, video=drawn)
    labels = {label.name: label.probability for label in results[0].labels}
    return str(drawn), results[0].lines()[0], labels, [row(result) for result in results]


def row(result: Result) -> list[str]:
    """A result as a row of :data:`HEADERS`."""
    experts = [result.experts.get(name) for name in ('body', 'hand', 'rgb')]
    return [
        f'{result.start:.1f} - {result.end:.1f}',
        '' if result.person is None else str(result.person),
        result.lines()[0],
        *(f'{e[0].name} {e[0].probability:.0%}' if e else '-' for e in experts),
    ]
