"""dashboard: shows what `explainers` computes. Nothing here or below it speaks to anybody but the visitor's browser."""

import os

# onnxruntime's builds report to their maker, keep a device number and start threads for it, unless this is set before
# its first import, in whichever process that is.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
