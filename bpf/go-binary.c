/* SPDX-License-Identifier: Apache-2.0 */
#include "go-binary.h"
#include <elf.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bounds on what is read of a file, whatever it claims. */
#define SECTIONS 1024
#define SEGMENTS 64
#define NAMES_BYTES (64 << 10)
#define WINDOW (256 << 10)
#define FUNCTIONS (2u << 20)
#define TABLE_BYTES (256ull << 20)
#define SEARCH_BYTES (64ull << 20)
#define READ_BYTES (96ull << 20) /* of one file in all; some 20 ms from the page cache */

static const char round_trip[] = "\0net/http.(*persistConn).roundTrip"; /* and its own NUL */
static const char build_info[] = "\xff Go buildinf:";

/* Read from the debug information of a net/http program built with the first and a late release of each version. */
static const struct {
	unsigned minor;
	struct th_go_layout layout;
} versions[] = {
	{18, {.m = 48, .goid = 152, .parent = 0, .curg = 192, .conn = 80}},
	{19, {.m = 48, .goid = 152, .parent = 0, .curg = 192, .conn = 80}},
	{20, {.m = 48, .goid = 152, .parent = 0, .curg = 192, .conn = 80}},
	{21, {.m = 48, .goid = 152, .parent = 272, .curg = 192, .conn = 80}},
	{22, {.m = 48, .goid = 152, .parent = 272, .curg = 192, .conn = 80}},
	{23, {.m = 48, .goid = 160, .parent = 280, .curg = 192, .conn = 80}},
	{24, {.m = 48, .goid = 160, .parent = 280, .curg = 192, .conn = 80}},
	{25, {.m = 48, .goid = 152, .parent = 272, .curg = 184, .conn = 80}},
	{26, {.m = 48, .goid = 152, .parent = 280, .curg = 184, .conn = 80}},
	{27, {.m = 48, .goid = 152, .parent = 280, .curg = 184, .conn = 80}},
};
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))

struct range {
	uint64_t from, size; /* in the file */
	uint64_t address;
};

struct image {
	int fd;
	uint64_t size;
	uint64_t left; /* bytes that may still be read */
	Elf64_Phdr segments[SEGMENTS];
	unsigned segment_count;
	struct range build, functions, module, text, relocated; /* sections; size 0 = there is none */
};

/* A piece of the file at a time, as the page cache has it: a mapping would kill us if the file were cut. */
struct window {
	uint64_t from;
	size_t have;
	uint8_t bytes[WINDOW];
};

static bool read_at(struct image *image, uint64_t from, void *to, size_t size)
{
	if (from > image->size || size > image->size - from || size > image->left)
		return false;
	image->left -= size;
	return pread(image->fd, to, size, from) == (ssize_t)size;
}

static const uint8_t *look(struct image *image, struct window *window, uint64_t from, size_t size)
{
	if (from < window->from || from - window->from > window->have || size > window->have - (from - window->from)) {
		size_t want = WINDOW;
		if (from >= image->size || size > WINDOW)
			return NULL;
		if (want > image->size - from)
			want = image->size - from;
		window->have = 0;
		if (want < size || !read_at(image, from, window->bytes, want))
			return NULL;
		window->from = from;
		window->have = want;
	}
	return window->bytes + (from - window->from);
}

static uint32_t word(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t long_word(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* Where in the range the bytes first are, on a multiple of `step`, or -1. */
static int64_t search(struct image *image, struct window *window, const struct range *range, const void *bytes, size_t length, size_t step)
{
	uint64_t at = 0, limit = range->size < SEARCH_BYTES ? range->size : SEARCH_BYTES;

	while (at + length <= limit) {
		size_t have = limit - at < WINDOW ? limit - at : WINDOW;
		const uint8_t *here = look(image, window, range->from + at, have), *found = here;
		if (!here)
			return -1;
		while ((found = memmem(found, here + have - found, bytes, length)) && (at + (found - here)) % step)
			found++;
		if (found)
			return at + (found - here);
		/* Pieces overlap, as what is looked for may lie across. */
		at += have > length ? (have - length) / step * step + step : have;
	}
	return -1;
}

static bool read_headers(struct image *image, const char **why)
{
	static Elf64_Shdr sections[SECTIONS];
	static char names[NAMES_BYTES];
	Elf64_Ehdr header;

	if (!read_at(image, 0, &header, sizeof(header)) || memcmp(header.e_ident, ELFMAG, SELFMAG) || header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB)
		return false;
	if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > SEGMENTS || !read_at(image, header.e_phoff, image->segments, header.e_phnum * sizeof(Elf64_Phdr)))
		return false;
	image->segment_count = header.e_phnum;
	if (header.e_machine != EM_X86_64)
		*why = "it is not built for amd64";
	if (header.e_shentsize != sizeof(Elf64_Shdr) || !header.e_shnum || header.e_shnum > SECTIONS || header.e_shstrndx >= header.e_shnum ||
	    !read_at(image, header.e_shoff, sections, header.e_shnum * sizeof(Elf64_Shdr)))
		return true;
	uint64_t length = sections[header.e_shstrndx].sh_size;
	if (!length || length > sizeof(names) || !read_at(image, sections[header.e_shstrndx].sh_offset, names, length))
		return true;
	names[length - 1] = 0;
	for (unsigned i = 0; i < header.e_shnum; i++) {
		const Elf64_Shdr *one = &sections[i];
		struct range range = {.from = one->sh_offset, .size = one->sh_size, .address = one->sh_addr};
		const char *name = names + one->sh_name;
		if (one->sh_name >= length || one->sh_type == SHT_NOBITS || range.from > image->size || range.size > image->size - range.from)
			continue;
		if (!strcmp(name, ".go.buildinfo"))
			image->build = range;
		else if (!strcmp(name, ".gopclntab") || !strcmp(name, ".data.rel.ro.gopclntab"))
			image->functions = range;
		else if (!strcmp(name, ".go.module"))
			image->module = range;
		else if (!strcmp(name, ".text"))
			image->text = range;
		else if (!strcmp(name, ".data.rel.ro"))
			image->relocated = range;
	}
	return true;
}

static struct range segment_range(const Elf64_Phdr *segment)
{
	return (struct range){.from = segment->p_offset, .size = segment->p_filesz, .address = segment->p_vaddr};
}

/* Without sections, the first writable segment begins with it, or has it soon. */
static bool find_build_info(struct image *image, struct window *window)
{
	for (unsigned i = 0; i < image->segment_count && !image->build.size; i++) {
		const Elf64_Phdr *one = &image->segments[i];
		struct range range = segment_range(one);
		if (one->p_type != PT_LOAD || !(one->p_flags & PF_W) || range.from > image->size || range.size > image->size - range.from)
			continue;
		if (range.size > 1 << 20)
			range.size = 1 << 20;
		int64_t at = search(image, window, &range, build_info, sizeof(build_info) - 1, 16);
		if (at >= 0)
			image->build = (struct range){.from = range.from + at, .size = range.size - at};
	}
	return image->build.size > 0;
}

static bool read_version(struct image *image, char *version, size_t size, const char **why)
{
	uint8_t head[48];
	size_t length = 0, at = 32;

	if (image->build.size < sizeof(head) || !read_at(image, image->build.from, head, sizeof(head)) || memcmp(head, build_info, sizeof(build_info) - 1))
		return false;
	if (!(head[15] & 2)) {
		*why = "it is built with Go 1.17 or older";
		return true;
	}
	for (unsigned shift = 0; at < 37; shift += 7) {
		length |= (size_t)(head[at] & 0x7f) << shift;
		if (!(head[at++] & 0x80))
			break;
	}
	if (length >= size)
		length = size - 1;
	if (!read_at(image, image->build.from + at, version, length))
		return false;
	version[length] = 0;
	for (char *one = version; *one; one++)
		if (*one < ' ' || *one > '~')
			*one = '?';
	return true;
}

/* "go1.22.3", "go1.26rc1", "devel go1.27-0a1b2c3". */
static bool choose_layout(struct go_binary *binary, const char **why)
{
	const char *at = strstr(binary->version, "go1.");
	unsigned long minor = at ? strtoul(at + 4, NULL, 10) : 0;

	if (!at) {
		*why = "its version of Go is not known";
		return false;
	}
	if (minor < versions[0].minor) {
		*why = "it is built with Go 1.17 or older";
		return false;
	}
	binary->guessed = minor > versions[VERSIONS - 1].minor;
	binary->layout = versions[binary->guessed ? VERSIONS - 1 : minor - versions[0].minor].layout;
	return true;
}

static bool is_function_table(const uint8_t *head)
{
	return (word(head) == 0xfffffff0 || word(head) == 0xfffffff1) && !head[4] && !head[5] && head[6] == 1 && head[7] == 8;
}

/* The system's linker puts the table of a position independent program among other data. */
static void find_function_table(struct image *image, struct window *window)
{
	static const uint8_t heads[2][8] = {{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}, {0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8}};

	for (unsigned i = 0; i < 2; i++) {
		int64_t at = search(image, window, &image->relocated, heads[i], sizeof(heads[i]), 16);
		if (at >= 0) {
			image->functions = (struct range){.from = image->relocated.from + at, .size = image->relocated.size - at, .address = image->relocated.address + at};
			return;
		}
	}
}

static uint64_t file_offset(const struct image *image, uint64_t address)
{
	for (unsigned i = 0; i < image->segment_count; i++) {
		const Elf64_Phdr *one = &image->segments[i];
		if (one->p_type == PT_LOAD && (one->p_flags & PF_X) && address >= one->p_vaddr && address - one->p_vaddr < one->p_filesz)
			return one->p_offset + (address - one->p_vaddr);
	}
	return 0;
}

/* A breakpoint anywhere but on an instruction's first byte would break the program. So what lies at the entry must be the comparison
 * with the stack's end that Go's functions begin with: of SP, or of what `lea` makes of it for a large frame. The probe goes on the
 * jump after it, as the kernel emulates jumps: of the instructions before it steps through a copy, which costs a second trap. The
 * arguments are where they were. Returns the jump's offset, or 0. */
static uint64_t jump_at_entry(struct image *image, uint64_t from)
{
	static const uint8_t compare_sp[] = {0x49, 0x3b, 0x66, 0x10}, compare_r12[] = {0x4d, 0x3b, 0x66, 0x10};
	uint8_t code[16];
	unsigned at = 0;

	if (!from || !read_at(image, from, code, sizeof(code)))
		return 0;
	if (!memcmp(code, compare_sp, 4))
		at = 4;
	else if (code[0] == 0x4c && code[1] == 0x8d && code[2] == 0x64 && code[3] == 0x24 && !memcmp(code + 5, compare_r12, 4))
		at = 9;
	else if (code[0] == 0x4c && code[1] == 0x8d && code[2] == 0xa4 && code[3] == 0x24 && !memcmp(code + 8, compare_r12, 4))
		at = 12;
	/* jbe, near or far. */
	return at && (code[at] == 0x76 || (code[at] == 0x0f && code[at + 1] == 0x86)) ? from + at : 0;
}

/* The function table: a header of words, names, and for each function by address its offset from the text's beginning and that
 * of a description, whose second word says where its name is. */
static uint64_t find_round_trip(struct image *image, struct window *table, struct window *descriptions)
{
	const struct range *all = &image->functions;
	uint8_t head[72];
	uint64_t count, text, name, after_names, first;
	int64_t found;

	if (all->size < sizeof(head) || all->size > TABLE_BYTES || !read_at(image, all->from, head, sizeof(head)) || !is_function_table(head))
		return 0;
	count = long_word(head + 8);
	text = long_word(head + 24);
	name = long_word(head + 32);
	after_names = long_word(head + 40);
	first = long_word(head + 64);
	if (count > FUNCTIONS || name > after_names || after_names > all->size || first > all->size || count * 8 > all->size - first)
		return 0;
	struct range names = {.from = all->from + name, .size = after_names - name};
	found = search(image, table, &names, round_trip, sizeof(round_trip), 1);
	if (found < 0)
		return 0;
	/* Since 1.26 the text's beginning is told by the module's description alone. */
	if (!text && image->module.size >= 184) {
		uint8_t value[8];
		if (read_at(image, image->module.from + 176, value, sizeof(value)))
			text = long_word(value);
	}
	if (!text)
		text = image->text.address;
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *entry = look(image, table, all->from + first + i * 8, 8), *about;
		if (!entry)
			return 0;
		uint32_t start = word(entry), offset = word(entry + 4);
		if (offset > all->size - first || all->size - first - offset < 8)
			return 0;
		about = look(image, descriptions, all->from + first + offset, 8);
		if (!about)
			return 0;
		if (word(about + 4) == (uint64_t)found + 1) {
			return jump_at_entry(image, file_offset(image, text + start));
		}
	}
	return 0;
}

static enum go_verdict read_image(struct image *image, struct go_binary *binary, const char **why)
{
	static struct window windows[2];

	windows[0].have = windows[1].have = 0;
	if (!read_headers(image, why))
		return GO_NONE;
	if (!image->build.size && (image->text.size || !find_build_info(image, &windows[0])))
		return GO_NONE;
	if (!read_version(image, binary->version, sizeof(binary->version), why))
		return GO_NONE;
	if (*why || !choose_layout(binary, why))
		return GO_UNUSABLE;
	if (!image->functions.size)
		find_function_table(image, &windows[0]);
	binary->round_trip = find_round_trip(image, &windows[0], &windows[1]);
	return GO_USABLE;
}

enum go_verdict go_binary_read(const char *path, struct go_binary *binary, const char **why)
{
	static struct image image;
	enum go_verdict verdict = GO_NONE;
	struct stat about;

	memset(binary, 0, sizeof(*binary));
	memset(&image, 0, sizeof(image));
	*why = NULL;
	image.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image.fd < 0)
		return GO_NONE;
	if (!fstat(image.fd, &about) && S_ISREG(about.st_mode)) {
		image.size = about.st_size;
		image.left = READ_BYTES;
		verdict = read_image(&image, binary, why);
	}
	close(image.fd);
	return verdict;
}
