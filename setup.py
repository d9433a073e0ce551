"""The C core, and one abi3 wheel for CPython 3.10 and later. All else is in pyproject.toml."""

import sys
import sysconfig

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# PyPy has no limited API, and free-threaded CPython none before 3.15.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
ABI3 = sys.implementation.name == "cpython" and not (FREE_THREADED and sys.version_info < (3, 15))


class BuildExt(build_ext):
    """Says for which version the limited API is: cffi defines Py_LIMITED_API bare, which means 3.2."""

    def build_extension(self, ext: Extension) -> None:
        """Build one extension, for the limited API where there is one."""
        if ABI3:
            ext.define_macros.append(("Py_LIMITED_API", "0x030A0000"))
        else:
            ext.py_limited_api = False
        super().build_extension(ext)


setup(
    cffi_modules=["csrc/ffibuild.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if ABI3 else {},
)
