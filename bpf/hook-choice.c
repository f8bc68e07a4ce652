/* SPDX-License-Identifier: Apache-2.0 */
#include "hook-choice.h"
#include <string.h>
#include "kernel-types.h"
#include "trace-folder.h"

static bool refused[HOOKS_MOST];

static bool has_hook(const struct hook *hook)
{
	int arguments;

	switch (hook->how) {
	case 'b':
		return kernel_has_tracepoint(hook->on);
	case 's':
		return trace_folder_has_call(hook->on);
	case 'i':
	case 'u':
		return true;
	}
	arguments = kernel_arguments_of(hook->on);
	if (!strcmp(hook->on, "tcp_recvmsg") && hook->how != 'r')
		return arguments == (strstr(hook->program, "nonblock") ? 6 : 5);
	return arguments >= 0;
}

/* On some kernels and machines no program can hang on a function's entry, though it is in the type information. */
static bool can_hang(const struct hook *hook, int kind, int level)
{
	if (!(hook->kinds & kind) || refused[hook - hook_table])
		return false;
	if (hook->how == 'f' && hook->optional && level != ALL)
		return false;
	return has_hook(hook);
}

static bool anything_on(const char *place, int kind, int level)
{
	for (size_t i = 0; i < hook_count; i++)
		if (hook_table[i].on && !strcmp(hook_table[i].on, place) && can_hang(&hook_table[i], kind, level))
			return true;
	return false;
}

bool hook_wanted(const struct hook *hook, int kind, int level, const struct th_settings *settings)
{
	if (level == BARE && hook->optional)
		return false;
	if (hook->how == 'u' && (level == NO_TASKS || !settings->task_identity))
		return false;
	if (!strncmp(hook->program, "turn_", 5) && !settings->turns)
		return false;
	if (!strcmp(hook->program, "waking") && !settings->wakes)
		return false;
	for (size_t i = 0; i < 2; i++)
		if (hook->instead_of[i] && anything_on(hook->instead_of[i], kind, level))
			return false;
	return can_hang(hook, kind, level);
}

bool hook_refused(const struct hook *hook, int kind, int level, const struct th_settings *settings)
{
	refused[hook - hook_table] = true;
	for (size_t i = 0; i < hook_count; i++)
		for (size_t k = 0; k < 2; k++)
			if (hook_table[i].instead_of[k] && hook->on && !strcmp(hook_table[i].instead_of[k], hook->on) && hook_wanted(&hook_table[i], kind, level, settings))
				return true;
	return false;
}

bool hook_kind_possible(int kind)
{
	for (size_t i = 0; i < hook_count; i++)
		if ((hook_table[i].kinds & kind) && hook_table[i].kinds != ANY && !hook_table[i].optional && !strstr(hook_table[i].program, "nonblock") &&
		    strcmp(hook_table[i].on, "tcp_recvmsg") && !has_hook(&hook_table[i]))
			return false;
	return true;
}
