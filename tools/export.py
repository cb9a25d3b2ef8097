"""Export a trained model: ``python tools/export.py CONFIG CHECKPOINT --out model.onnx``."""

from bharnet_mm.cli import run_module

if __name__ == '__main__':
    run_module('export')
