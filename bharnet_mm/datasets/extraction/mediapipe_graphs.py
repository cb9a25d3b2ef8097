"""MediaPipe's graphs for the pose, the palm detector and the hand landmarks."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import ConfigError
from ...io.packages import how_to_install, import_package

LANDMARK_INPUT = 224  # side of the hand landmark model's input in pixels
_POSE_GRAPH = 'modules/pose_landmark/pose_landmark_cpu.binarypb'
_POSE_MODEL = 'modules/pose_landmark/pose_landmark_full.tflite'

# One thread for each graph, since the runner has one process for each core.
_LANDMARK_GRAPH = """
num_threads: 1
input_stream: "image"
output_stream: "landmarks"
output_stream: "right"
output_stream: "presence"
node {
  calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image" output_stream: "TENSORS:input"
  options { [mediapipe.ImageToTensorCalculatorOptions.ext] {
    output_tensor_width: 224 output_tensor_height: 224
    output_tensor_float_range { min: 0.0 max: 1.0 } } }
}
node {
  calculator: "InferenceCalculator" input_stream: "TENSORS:input" output_stream: "TENSORS:output"
  options { [mediapipe.InferenceCalculatorOptions.ext] {
    model_path: "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
    delegate { xnnpack { num_threads: 1 } } } }
}
node {
  calculator: "SplitTensorVectorCalculator" input_stream: "output"
  output_stream: "points_tensor" output_stream: "presence_tensor" output_stream: "right_tensor"
  options { [mediapipe.SplitVectorCalculatorOptions.ext] {
    ranges { begin: 0 end: 1 } ranges { begin: 1 end: 2 } ranges { begin: 2 end: 3 } } }
}
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:presence_tensor"
  output_stream: "FLOAT:presence" }
node { calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:right_tensor"
  output_stream: "FLOAT:right" }
node {
  calculator: "TensorsToLandmarksCalculator" input_stream: "TENSORS:points_tensor"
  output_stream: "NORM_LANDMARKS:landmarks"
  options { [mediapipe.TensorsToLandmarksCalculatorOptions.ext] {
    num_landmarks: 21 input_image_width: 224 input_image_height: 224 normalize_z: 0.4 } }
}
"""
_PALM_GRAPH = """
num_threads: 1
input_stream: "image"
output_stream: "palms"
node {
  calculator: "ConstantSidePacketCalculator" output_side_packet: "PACKET:complexity"
  options { [mediapipe.ConstantSidePacketCalculatorOptions.ext] { packet { int_value: 1 } } }
}
node {
  calculator: "PalmDetectionCpu" input_stream: "IMAGE:image"
  input_side_packet: "MODEL_COMPLEXITY:complexity" output_stream: "DETECTIONS:palms"
}
"""


@contextmanager
def quiet() -> Iterator[None]:
    """Hides the lines that MediaPipe's C++ code and protobuf print for every new graph."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


def import_mediapipe():
    """The mediapipe package, of a version that contains its models."""
    mediapipe = import_package('backend mediapipe', 'mediapipe')
    folder = os.path.join(os.path.dirname(mediapipe.__file__), 'modules', 'hand_landmark')
    if not os.path.exists(os.path.join(folder, 'hand_landmark_full.tflite')):
        raise ConfigError(
            'backend mediapipe',
            f'version {mediapipe.__version__} without models inside the package',
            'mediapipe 0.10.14, 0.10.18 or 0.10.21, which carry them',
            how_to_install('mediapipe'),
        )
    # Protobuf gives this warning at each result, about MediaPipe's own code.
    warnings.filterwarnings('ignore', r'SymbolDatabase\.GetPrototype', UserWarning)
    return mediapipe


def landmark_graph():
    """The hand landmark model for an image of a hand: ``landmarks``, ``right`` and ``presence``."""
    return _started(_LANDMARK_GRAPH, np.zeros((LANDMARK_INPUT, LANDMARK_INPUT, 3), np.uint8))


def palm_graph():
    """The palm detector: ``palms``."""
    return _started(_PALM_GRAPH, np.zeros((LANDMARK_INPUT, LANDMARK_INPUT, 3), np.uint8))


def pose_graph(video: bool = True):
    """MediaPipe's Pose (complexity 1): ``pose_landmarks``.

    It differs from ``mediapipe.solutions.pose.Pose`` in that the landmark network's segmentation
    branch, a third of its time, is not computed. The landmarks are the same. A graph belongs to one
    video.

    Args:
        video: Whether the body is followed and smoothed over frames. Otherwise each image is
            treated separately.
    """
    import_mediapipe()
    from mediapipe.python.solution_base import SolutionBase

    config, model = _pose_config(), _pose_model_without_segmentation()
    # MediaPipe reads the model when the graph starts, from a file only.
    with tempfile.NamedTemporaryFile(suffix='.tflite') as file, quiet():
        file.write(model)
        file.flush()
        graph = SolutionBase(
            graph_config=config.replace(f'mediapipe/{_POSE_MODEL}', file.name),
            side_inputs=dict(
                model_complexity=1,
                smooth_landmarks=video,
                enable_segmentation=False,
                smooth_segmentation=video,
                use_prev_landmarks=video,
            ),
            outputs=['pose_landmarks'],
        )
        graph._graph.wait_until_idle()  # its threads open the file
        return graph


def _started(config: str, blank: np.ndarray):
    import_mediapipe()
    from mediapipe.python.solution_base import SolutionBase

    with quiet():
        graph = SolutionBase(graph_config=config)
        graph.process(blank)
    return graph


def _folder() -> Path:
    return Path(import_mediapipe().__file__).parent


@cache
def _pose_config() -> str:
    """The pose graph as text with its subgraphs written out, so that it names the model."""
    from mediapipe.python._framework_bindings import resource_util
    from mediapipe.python._framework_bindings.validated_graph_config import ValidatedGraphConfig

    resource_util.set_resource_dir(str(_folder().parent))
    graph = ValidatedGraphConfig()
    graph.initialize(binary_graph_path=str(_folder() / _POSE_GRAPH))
    return graph.text_config


@cache
def _pose_model_without_segmentation() -> bytes:
    """The installed pose model without the operators that only its segmentation mask needs.

    The mask's place among the outputs, which the graph counts, is taken by another output.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as schema

    content = bytearray((_folder() / _POSE_MODEL).read_bytes())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    (graph,) = model.subgraphs
    mask = [i for i in graph.outputs if list(graph.tensors[i].shape) == [1, 256, 256, 1]]
    kept = [i for i in graph.outputs if i not in mask]
    needed, operators = set(kept), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            operators.append(operator)
    graph.operators = operators[::-1]
    presence = next(i for i in kept if list(graph.tensors[i].shape) == [1, 1])
    graph.outputs = [presence if i in mask else i for i in graph.outputs]
    model.signatureDefs = None  # they name the mask
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b'TFL3')
    return bytes(builder.Output())
