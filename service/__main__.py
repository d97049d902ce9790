"""``python -m service``."""

import sys

if __name__ == "__main__":
    try:
        from service.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # while modules are imported
        sys.exit(130)
