"""``python -m tn_qnn.cli``: the command line where no script is installed."""

import sys

from tn_qnn.cli.main import main

sys.exit(main())
