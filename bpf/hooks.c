/* SPDX-License-Identifier: Apache-2.0 */
#include "hooks.h"
#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "capabilities.h"
#include "hook-choice.h"
#include "kernel-types.h"
#include "records.h"
#include "return-probe.h"
#include "trace-folder.h"

/* The BPF object is part of this file, so that one file is all there is to install. */
asm(".section .rodata\n"
    ".balign 16\n"
    "bpf_object_begin: .incbin \"" BPF_OBJECT "\"\n"
    "bpf_object_end: .byte 0\n"
    ".previous\n");
extern const char bpf_object_begin[], bpf_object_end[];

static const struct {
	int bit;
	const char *name;
} kinds[] = {{TP, "tp"}, {FEXIT, "fexit"}, {KPROBE, "kprobe"}};

static struct bpf_link *links[HOOKS_MOST];
static char log_tail[8192];
static size_t log_length;

static int keep_log(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];
	size_t length;

	if (level == LIBBPF_DEBUG)
		return 0;
	if (getenv("TRACEHOUSE_LOADER_LOG")) {
		va_list copy;
		va_copy(copy, args);
		vfprintf(stderr, format, copy);
		va_end(copy);
	}
	vsnprintf(line, sizeof(line), format, args);
	length = strlen(line);
	if (log_length + length < sizeof(log_tail)) {
		memcpy(log_tail + log_length, line, length + 1);
		log_length += length;
	}
	return 0;
}

static int attach(const struct hook *hook, struct bpf_program *program, struct bpf_link **link)
{
	switch (hook->how) {
	case 'k':
		*link = bpf_program__attach_kprobe(program, false, hook->on);
		break;
	case 'r':
		*link = return_probe_attach(program, hook->on);
		break;
	case 's':
		*link = bpf_program__attach_tracepoint(program, "syscalls", hook->on);
		break;
	case 'i':
	case 'u':
		return 0;
	default:
		*link = bpf_program__attach(program);
	}
	return *link ? 0 : -errno;
}

static void detach_all(void)
{
	for (size_t i = 0; i < hook_count; i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
	return_probe_close();
}

/* One try with one kind of hooks. Returns 0, a negative errno, or AGAIN: some would not attach, and others can stand in for them. */
#define AGAIN 1

static int try_kind(struct hooks *hooks, int kind, int level, size_t ring_bytes, const struct th_settings *settings, void (*prepare)(struct bpf_object *))
{
	struct bpf_program *program;
	struct bpf_map *map;
	bool again = false;
	size_t size;
	int error;

	log_length = 0;
	log_tail[0] = 0;
	hooks->object = bpf_object__open_mem(bpf_object_begin, bpf_object_end - bpf_object_begin, NULL);
	if (!hooks->object)
		return -errno;
	bpf_object__for_each_program(program, hooks->object)
		bpf_program__set_autoload(program, false);
	for (size_t i = 0; i < hook_count; i++)
		if (hook_wanted(&hook_table[i], kind, level, settings))
			bpf_program__set_autoload(bpf_object__find_program_by_name(hooks->object, hook_table[i].program), true);
	map = bpf_object__find_map_by_name(hooks->object, "ring");
	bpf_map__set_max_entries(map, ring_bytes);
	map = bpf_object__find_map_by_name(hooks->object, ".rodata.settings");
	memcpy((void *)bpf_map__initial_value(map, &size), settings, sizeof(*settings));
	error = bpf_object__load(hooks->object);
	if (!error && prepare)
		prepare(hooks->object);
	for (size_t i = 0; i < hook_count && !error; i++) {
		const struct hook *hook = &hook_table[i];
		program = bpf_object__find_program_by_name(hooks->object, hook->program);
		if (!bpf_program__autoload(program) || !hook_wanted(hook, kind, level, settings))
			continue;
		error = attach(hook, program, &links[i]);
		if (error && hook->optional) {
			again |= hook_refused(hook, kind, level, settings);
			error = 0;
		}
	}
	if (!error && again)
		error = AGAIN;
	if (error) {
		detach_all();
		bpf_object__close(hooks->object);
		hooks->object = NULL;
	}
	return error;
}

bool hooks_attached(const char *program)
{
	for (size_t i = 0; i < hook_count; i++)
		if (links[i] && !strcmp(hook_table[i].program, program))
			return true;
	return false;
}

bool hooks_open(struct hooks *hooks, const char *kind, size_t ring_bytes, const struct th_settings *wanted, void (*prepare)(struct bpf_object *))
{
	struct th_settings settings = *wanted;
	int chosen = 0, error = 0;
	bool auto_kind = !strcmp(kind, "auto");

	libbpf_set_print(keep_log);
	bool types = kernel_types_open();
	capabilities_say_first(hooks, geteuid() == 0, types);
	if (geteuid() != 0 || !types) {
		snprintf(hooks->error, sizeof(hooks->error), "%s: %s", geteuid() ? "tracing the kernel needs root" : "the kernel has no type information (/sys/kernel/btf/vmlinux is missing)",
			 geteuid() ? "run it with sudo" : "run a distribution's kernel, which is built with CONFIG_DEBUG_INFO_BTF");
		return false;
	}
	trace_folder_open();
	if (trace_folder())
		return_probe_open(trace_folder());
	settings.preempt_delta = kernel_preempt_delta();
	for (int level = ALL; level < LEVELS && !hooks->object; level++)
		for (size_t i = 0; i < 3 && !hooks->object; i++) {
			if (!auto_kind && strcmp(kind, kinds[i].name))
				continue;
			/* The others without programs on functions, but for those that they need, come before kprobes. */
			if (auto_kind && level == ALL && kinds[i].bit == KPROBE)
				continue;
			if (!hook_kind_possible(kinds[i].bit)) {
				if (!auto_kind)
					error = -ENOENT;
				continue;
			}
			chosen = kinds[i].bit;
			do
				error = try_kind(hooks, chosen, level, ring_bytes, &settings, prepare);
			while (error == AGAIN);
		}
	/* Only the attaching needed tracefs. */
	if (!trace_folder_leave())
		snprintf(hooks->error, sizeof(hooks->error), "cannot return to the mount namespace: %s", strerror(errno));
	capabilities_say(hooks, chosen, &settings);
	kernel_types_close();
	if (!hooks->object) {
		char *first = strtok(log_tail, "\n");
		snprintf(hooks->error, sizeof(hooks->error), "no way to see socket I/O works on this kernel%s%s (%s; %.200s): run the loader with --probe, or `tracehouse doctor`, for what is missing",
			 auto_kind ? "" : " with --hooks ", auto_kind ? "" : kind, strerror(-error), first ? first : "no log");
		return false;
	}
	return true;
}

static int cause_of_miss(const char *program)
{
	if (!strcmp(program, "waking"))
		return TH_LOSS_WAKE_SHED;
	if (!strncmp(program, "turn_", 5))
		return TH_LOSS_TURN_MISSED;
	if (!strcmp(program, "set_state") || !strcmp(program, "destroy_sock"))
		return TH_LOSS_STATE_MISSED;
	return TH_LOSS_HOOK_MISSED;
}

void hooks_missed(const struct hooks *hooks, unsigned long long missed[TH_LOSS_SLOTS])
{
	struct bpf_program *program;

	memset(missed, 0, TH_LOSS_SLOTS * sizeof(*missed));
	missed[TH_LOSS_HOOK_MISSED] = return_probe_missed();
	bpf_object__for_each_program(program, hooks->object) {
		struct bpf_prog_info info = {};
		__u32 size = sizeof(info);
		int fd = bpf_program__fd(program);
		/* It makes no event. */
		if (!strcmp(bpf_program__name(program), "round_trip"))
			continue;
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size))
			missed[cause_of_miss(bpf_program__name(program))] += info.recursion_misses;
	}
}

void hooks_close(struct hooks *hooks)
{
	detach_all();
}
