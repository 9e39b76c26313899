from .comparison import print_comparison as print_comparison
from .evaluation import write_evaluation as write_evaluation
from .page import write_report as write_report
from .table import print_results as print_results
