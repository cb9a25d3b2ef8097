"""Exported models without torch: numpy and onnxruntime prepare the clips and predict.

``from bharnet_mm.runtime import OnnxRecognizer`` imports neither torch nor MMAction2.
"""

from .recognizer import ExportedRecognizer, OnnxRecognizer

__all__ = ['ExportedRecognizer', 'OnnxRecognizer']
