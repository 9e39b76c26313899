"""Tables, plots and HTML pages, built from the files of run folders only."""

from deblurlab.reporting.comparison import print_comparison
from deblurlab.reporting.evaluation import write_evaluation
from deblurlab.reporting.page import write_report
from deblurlab.reporting.table import print_results

__all__ = ["print_comparison", "print_results", "write_evaluation", "write_report"]
