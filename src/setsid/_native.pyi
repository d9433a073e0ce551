"""Types of the cffi module. What `lib` holds is declared in csrc/sid.cdef.h."""

from typing import Any

lib: Any
ffi: Any
