# SPDX-License-Identifier: MIT
# What configure.ac needs more than once.

# BIVALVE_ADD_CFLAG(VARIABLE, FLAG)
# Appends FLAG to VARIABLE if the compiler takes it together with the user's flags. -Werror makes
# clang refuse what it would otherwise only warn about ("argument unused", "unknown warning option").
AC_DEFUN([BIVALVE_ADD_CFLAG], [
    AS_VAR_PUSHDEF([cache], [bivalve_cv_cflag_$2])
    AC_CACHE_CHECK([whether $CC takes $2], [cache], [
        bivalve_save_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS -Werror $2"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <stddef.h>]], [[]])],
            [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
        CFLAGS=$bivalve_save_CFLAGS
    ])
    AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
    AS_VAR_POPDEF([cache])
])

# BIVALVE_ADD_LDFLAG(VARIABLE, FLAG [, CFLAGS-FOR-THE-TEST])
# The same for a flag of the linker.
AC_DEFUN([BIVALVE_ADD_LDFLAG], [
    AS_VAR_PUSHDEF([cache], [bivalve_cv_ldflag_$2])
    AC_CACHE_CHECK([whether $CC links with $2], [cache], [
        bivalve_save_CFLAGS=$CFLAGS
        bivalve_save_LDFLAGS=$LDFLAGS
        CFLAGS="$CFLAGS -Werror $3"
        LDFLAGS="$LDFLAGS $2"
        AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdio.h>]], [[puts("");]])],
            [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
        CFLAGS=$bivalve_save_CFLAGS
        LDFLAGS=$bivalve_save_LDFLAGS
    ])
    AS_VAR_IF([cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
    AS_VAR_POPDEF([cache])
])

# BIVALVE_WITH_LIBRARY(NAME, WHAT FOR, HEADER)
# --with-NAME[=DIR]. Sets with_NAME to yes, no or check, and NAME_dir to DIR where one was given. DIR must
# have the header: otherwise the system's library would be taken, silently.
AC_DEFUN([BIVALVE_WITH_LIBRARY], [
    AC_ARG_WITH([$1],
        [AS_HELP_STRING([--with-$1@<:@=DIR@:>@],
            [$2, in the system's paths or under DIR/include and DIR/lib @<:@check@:>@])],
        [], [with_$1=check])
    $1_dir=
    AS_CASE([$with_$1],
        [yes | no | check], [],
        [/*], [$1_dir=$with_$1; with_$1=yes
               AS_IF([test ! -d "$$1_dir"],
                   [AC_MSG_ERROR([--with-$1: there is no directory $$1_dir])])
               AS_IF([test ! -f "$$1_dir/include/$3" && test ! -f "$$1_dir/include/$1/$3"],
                   [AC_MSG_ERROR([--with-$1: there is no $$1_dir/include/$3])])],
        [AC_MSG_ERROR([--with-$1 takes yes, no, check or an absolute directory, not "$with_$1"])])
])

# BIVALVE_LINUX_ONLY(NAME)
# --with-NAME is refused, and otherwise left out, where the calls of Linux that it is made with are missing.
AC_DEFUN([BIVALVE_LINUX_ONLY], [
    AS_IF([test "$have_linux_calls" = no], [
        AS_IF([test "$with_$1" = yes], [AC_MSG_ERROR([--with-$1 needs accept4, eventfd, prctl and sendfile, which this system lacks])])
        with_$1=no
    ])
])

# BIVALVE_DIR_FLAGS(DIR, CPPFLAGS-VARIABLE, LIBS-VARIABLE)
# The flags that find a library installed under DIR. No run path is set: that is the user's choice,
# by LDFLAGS=-Wl,-rpath,DIR/lib or LD_LIBRARY_PATH.
AC_DEFUN([BIVALVE_DIR_FLAGS], [
    $2="-I$1/include"
    $3=
    for bivalve_libdir in "$1/lib64" "$1/lib"; do
        AS_IF([test -d "$bivalve_libdir"], [$3="-L$bivalve_libdir $$3"])
    done
])

# BIVALVE_FIND_LIBRARY(NAME, VARIABLE, MODULES, LIBS, WHAT, PROLOGUE, BODY, DEBIAN, FEDORA, ALPINE)
# After BIVALVE_WITH_LIBRARY(NAME): looks for WHAT with pkg-config as MODULES, or as LIBS in the directory that was
# named, and has a program of PROLOGUE and BODY linked with it. Sets have_NAME to yes or no, and
# VARIABLE_CFLAGS and VARIABLE_LIBS. Where it is missed and was asked for, configure ends.
AC_DEFUN([BIVALVE_FIND_LIBRARY], [
    have_$1=no
    AS_IF([test "$with_$1" != no], [
        AS_IF([test -n "$$1_dir"], [
            BIVALVE_DIR_FLAGS([$$1_dir], [$2_CFLAGS], [$2_LIBS])
            $2_LIBS="$$2_LIBS $4"
            have_$1=maybe
        ], [
            PKG_CHECK_MODULES([$2], [$3], [have_$1=maybe], [have_$1=no])
        ])
        AS_IF([test "$have_$1" = maybe], [
            save_CPPFLAGS=$CPPFLAGS
            save_LIBS=$LIBS
            CPPFLAGS="$$2_CFLAGS $CPPFLAGS"
            LIBS="$$2_LIBS $LIBS"
            AC_MSG_CHECKING([whether a program links with $5])
            AC_LINK_IFELSE([AC_LANG_PROGRAM([$6], [$7])], [have_$1=yes], [have_$1=no])
            AC_MSG_RESULT([$have_$1])
            CPPFLAGS=$save_CPPFLAGS
            LIBS=$save_LIBS
        ])
        AS_IF([test "$have_$1" = no && test "$with_$1" = yes],
            [BIVALVE_LIBRARY_MISSING([$5${$1_dir:+ under $$1_dir}], [$8], [$9], [$10])])
    ])
    AS_IF([test "$have_$1" != yes], [$2_CFLAGS=; $2_LIBS=])
    AC_SUBST([$2_CFLAGS])
    AC_SUBST([$2_LIBS])
])

# BIVALVE_LIBRARY_MISSING(NAME, DEBIAN, FEDORA, ALPINE [, MORE])
# Ends configure with the packages that would have helped.
AC_DEFUN([BIVALVE_LIBRARY_MISSING], [
    AC_MSG_ERROR([$1 was not found. Packages:
  Debian, Ubuntu:  apt-get install $2
  Fedora:          dnf install $3
  Alpine:          apk add $4$5])
])

# BIVALVE_TIME_64
# On 32-bit machines glibc's time_t ends in 2038 unless it is asked for the one of 64 bits (glibc 2.34; needs
# _FILE_OFFSET_BITS=64, so AC_SYS_LARGEFILE before). No structure with a time in it is shared with a library here.
AC_DEFUN([BIVALVE_TIME_64], [
    AC_REQUIRE([AC_SYS_LARGEFILE])
    AC_CACHE_CHECK([for what makes time_t 64 bits wide], [bivalve_cv_time_64], [
        bivalve_cv_time_64=nothing
        for bivalve_define in '' '#define _TIME_BITS 64'; do
            AC_COMPILE_IFELSE([AC_LANG_SOURCE([[
                $bivalve_define
                #include <time.h>
                int wide[sizeof(time_t) >= 8 ? 1 : -1];
                ]])],
                [bivalve_cv_time_64=${bivalve_define:-none needed}; break])
        done])
    AS_IF([test "$bivalve_cv_time_64" = '#define _TIME_BITS 64'],
        [AC_DEFINE([_TIME_BITS], [64], [Number of bits in time_t, on hosts where this is settable.])])
])
