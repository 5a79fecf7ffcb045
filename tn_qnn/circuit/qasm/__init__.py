"""OpenQASM 2 and 3, in and out.

Our own parser, not a maintained one: those on ANTLR recurse as deep as the text nests and none
bounds bytes, qubits or expanded gates, so hostile text could not be refused in this process.
"""

from tn_qnn.circuit.qasm.reader import from_qasm, load_qasm
from tn_qnn.circuit.qasm.writer import to_qasm

__all__ = ["from_qasm", "load_qasm", "to_qasm"]
