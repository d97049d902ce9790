"""``python -m service.worker FRAMEWORK FD``: the template process of one framework."""

import sys

from service.worker.template import run_template

if __name__ == "__main__":
    run_template(sys.argv[1], int(sys.argv[2]))
