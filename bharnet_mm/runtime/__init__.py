"""Runs exported models without torch: numpy prepares the clips, onnxruntime predicts.

``from bharnet_mm.runtime import OnnxRecognizer`` imports neither torch nor MMAction2.
"""

from .recognizer import ExportedRecognizer, OnnxRecognizer

__all__ = ['ExportedRecognizer', 'OnnxRecognizer']
