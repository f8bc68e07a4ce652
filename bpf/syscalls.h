/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/* System call numbers and where their arguments lie, one block an architecture. */
#ifndef TH_SYSCALLS_H
#define TH_SYSCALLS_H

#if defined(__TARGET_ARCH_x86)

/* The kernel's function for a system call. */
#define TH_SYSCALL(name) "__x64_sys_" #name
#define TH_NR_read 0
#define TH_NR_write 1
#define TH_NR_close 3
#define TH_NR_readv 19
#define TH_NR_writev 20
#define TH_NR_dup2 33
#define TH_NR_sendfile 40
#define TH_NR_connect 42
#define TH_NR_accept 43
#define TH_NR_sendto 44
#define TH_NR_recvfrom 45
#define TH_NR_sendmsg 46
#define TH_NR_recvmsg 47
#define TH_NR_shutdown 48
#define TH_NR_getsockopt 55
#define TH_NR_execve 59
#define TH_NR_exit 60
#define TH_NR_futex 202
#define TH_NR_exit_group 231
#define TH_NR_splice 275
#define TH_NR_accept4 288
#define TH_NR_dup3 292
#define TH_NR_preadv 295
#define TH_NR_pwritev 296
#define TH_NR_recvmmsg 299
#define TH_NR_sendmmsg 307
#define TH_NR_execveat 322
#define TH_NR_preadv2 327
#define TH_NR_pwritev2 328
#define TH_NR_io_uring_enter 426
#define TH_NR_close_range 436

#define TH_SYSCALL_NR(r) ((int)(r)->orig_ax)
#define TH_ARG1(r) ((r)->di)
#define TH_ARG2(r) ((r)->si)
#define TH_ARG3(r) ((r)->dx)
/* Registers of a function that a kprobe stopped at. */
#define TH_PARM1(r) ((r)->di)
#define TH_PARM2(r) ((r)->si)
#define TH_PARM3(r) ((r)->dx)
#define TH_PARM4(r) ((r)->cx)
#define TH_PARM5(r) ((r)->r8)
#define TH_RETURN(r) ((r)->ax)

#elif defined(__TARGET_ARCH_arm64)

#define TH_SYSCALL(name) "__arm64_sys_" #name
#define TH_NR_dup2 -2
#define TH_NR_dup3 24
#define TH_NR_close 57
#define TH_NR_read 63
#define TH_NR_write 64
#define TH_NR_readv 65
#define TH_NR_writev 66
#define TH_NR_preadv 69
#define TH_NR_pwritev 70
#define TH_NR_sendfile 71
#define TH_NR_splice 76
#define TH_NR_exit 93
#define TH_NR_exit_group 94
#define TH_NR_futex 98
#define TH_NR_accept 202
#define TH_NR_connect 203
#define TH_NR_sendto 206
#define TH_NR_recvfrom 207
#define TH_NR_getsockopt 209
#define TH_NR_shutdown 210
#define TH_NR_sendmsg 211
#define TH_NR_recvmsg 212
#define TH_NR_accept4 242
#define TH_NR_execve 221
#define TH_NR_recvmmsg 243
#define TH_NR_sendmmsg 269
#define TH_NR_execveat 281
#define TH_NR_preadv2 286
#define TH_NR_pwritev2 287
#define TH_NR_io_uring_enter 426
#define TH_NR_close_range 436

#define TH_SYSCALL_NR(r) ((int)(r)->syscallno)
#define TH_ARG1(r) ((r)->orig_x0)
#define TH_ARG2(r) ((r)->regs[1])
#define TH_ARG3(r) ((r)->regs[2])
#define TH_PARM1(r) ((r)->regs[0])
#define TH_PARM2(r) ((r)->regs[1])
#define TH_PARM3(r) ((r)->regs[2])
#define TH_PARM4(r) ((r)->regs[3])
#define TH_PARM5(r) ((r)->regs[4])
#define TH_RETURN(r) ((r)->regs[0])

#else
#error "no system call table for this architecture yet"
#endif

#endif
