"""Examines a clip store or an annotation pickle before training."""

from .diagnosis import Diagnosis, Finding
from .examine import examine
from .page import write_page
from .summary import print_diagnosis

__all__ = ['Diagnosis', 'Finding', 'examine', 'print_diagnosis', 'write_page']
