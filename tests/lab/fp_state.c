/*
 * Preloaded into user-mode Linux where the CPU has more state than it has room for.
 *
 * It keeps the floating-point state of each of its processes in 2,696 bytes
 * (arch/x86/um/user-offsets.c:HOST_FP_SIZE), which is enough up to AVX-512. The state of a
 * CPU with AMX is 11,008 bytes. Reading it into less room gives the first part, but writing
 * less than all of it is refused with EFAULT (arch/x86/kernel/fpu/regset.c:xstateregs_set),
 * and the guest panics: "ptrace set fp regs failed, errno = 14".
 *
 * So what is written is made longer, by zeros. These are the initial values of what is
 * missing, and it has no others: no process of the guest can get leave to use AMX, which
 * must be asked for (arch_prctl(ARCH_REQ_XCOMP_PERM)).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* More than any CPU has; the kernel reads no more of it than it needs
 * (kernel/ptrace.c:ptrace_regset). User-mode Linux calls from one thread only. */
static char whole[65536] __attribute__((aligned(64)));

/* glibc declares it with dots, and passes on what it finds there, wanted or not. */
long ptrace(enum __ptrace_request request, ...)
{
	static long (*next)(enum __ptrace_request, ...);
	va_list arguments;

	va_start(arguments, request);
	pid_t pid = va_arg(arguments, pid_t);
	void *addr = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (!next)
		next = (long (*)(enum __ptrace_request, ...))dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || (long)addr != NT_X86_XSTATE)
		return next(request, pid, addr, data);

	const struct iovec *part = data;
	if (part->iov_len > sizeof(whole)) {
		errno = EINVAL;
		return -1;
	}
	/* Beyond the part it is zero still: all parts are of the same length. */
	memcpy(whole, part->iov_base, part->iov_len);
	struct iovec iov = { .iov_base = whole, .iov_len = sizeof(whole) };
	return next(request, pid, addr, &iov);
}
