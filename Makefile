# Mews: `make help` lists what can be made, docs/building.md explains it.
#
# SwiftPM is the one build of the Swift sources. This file adds what SwiftPM does not do: the command, the sample plugins,
# and build/, a tree laid out as it is installed. Everything under build/ finds its neighbours by relative paths, so that
# `make install` is a copy and the copy can be moved.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
SCRATCH ?= .build
CFLAGS   ?= -O2 -g
CXXFLAGS ?= -O2 -g
ARGS     ?=
SECONDS  ?= 60
# Of the Swift sources: how they are built, and under which sanitizer (address, thread), if any.
CONFIGURATION ?= release
SANITIZER     ?=

VERSION := $(shell sed -n 's/^.define MEWS_VERSION_STRING "\(.*\)"/\1/p' Include/mews/base.h)
SONAME  := libmews.so.0

LIBRARY := $(BUILD)/lib/libmews.so.$(VERSION)
COMMAND := $(BUILD)/bin/mews
HEADERS := $(patsubst Include/%,$(BUILD)/include/%,$(wildcard Include/mews/*.h))
CMAKE_PACKAGE := $(addprefix $(BUILD)/lib/cmake/Mews/,MewsConfig.cmake MewsConfigVersion.cmake)
SDK     := $(BUILD)/share/mews/MewsKit
SDK_SOURCES := $(wildcard Sources/*MewsKit*)
# Folders stand for the files in them: a folder is newer when a file was added or removed.
SWIFT_SOURCES := Package.swift $(shell find Include $(filter-out Sources/mews,$(wildcard Sources/*)))

SWIFT_PLUGINS := $(patsubst plugins/%/Package.swift,%,$(wildcard plugins/*/Package.swift))
C_PLUGINS     := $(filter-out $(SWIFT_PLUGINS),$(sort $(patsubst plugins/%/,%,$(dir $(wildcard plugins/*/*.c)))))
CXX_PLUGINS   := $(filter-out $(SWIFT_PLUGINS),$(sort $(patsubst plugins/%/,%,$(dir $(wildcard plugins/*/*.cpp)))))

PKG_CONFIG_HERE = PKG_CONFIG_PATH='$(abspath $(BUILD)/lib/pkgconfig)'
MEWS_FLAGS      = $$($(PKG_CONFIG_HERE) pkg-config --cflags --libs mews)
SWIFT_BUILD     = swift build --quiet -c $(CONFIGURATION) $(if $(SANITIZER),--sanitize=$(SANITIZER))
# A name that a library lacks fails when it is linked. Not under a sanitizer, whose functions are in the program.
NO_UNDEFINED    = $(if $(SANITIZER),,-Wl$(comma)-z$(comma)defs)
comma          := ,

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDEXPANSION:
MAKEFLAGS += --no-print-directory
# SwiftPM takes a C compiler from the environment as its own, and can use no other than clang.
unexport CC CXX CFLAGS CXXFLAGS LDFLAGS

## -- Everyday ---------------------------------------------------------------------------------------------------------

.PHONY: help
help: ## list the targets
	@sed -n -e 's/^## -- \([^-]*[^ -]\) -*$$/\n\1/p' -e 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | \
	    awk -F'|' 'NF == 2 { printf "%-20s %s\n", $$1, $$2; next } { print }'

.PHONY: build
build: library command plugins ## build the library, the command and the sample plugins into build/

.PHONY: run
run: build ## build, then serve the sample plugins on http://127.0.0.1:8080 (ARGS="--listen URL ..." for options)
	@exec $(COMMAND) run $(BUILD)/plugins $(ARGS)

.PHONY: test
test: setup-test build ## build, then run every test and check
	@Scripts/check

.PHONY: clean
clean: ## remove everything that was built
	rm -rf '$(BUILD)' '$(SCRATCH)'

## -- Installation -----------------------------------------------------------------------------------------------------

# Root often has no Swift on its PATH: it then installs what somebody else built.
.PHONY: install
install: $(if $(or $(shell command -v swift),$(if $(wildcard $(COMMAND)),,missing)),build) ## install below PREFIX (/usr/local), DESTDIR before it
	@Scripts/install '$(BUILD)' '$(DESTDIR)' '$(PREFIX)'

.PHONY: uninstall
uninstall: ## remove what make install installed below PREFIX
	@Scripts/uninstall '$(DESTDIR)' '$(PREFIX)'

.PHONY: setup
setup: ## install the Debian packages that a build needs, where they are missing
	@Scripts/setup build

.PHONY: setup-test
setup-test:
	@Scripts/setup build test

.PHONY: setup-bench
setup-bench:
	@Scripts/setup build bench

## -- Checking ---------------------------------------------------------------------------------------------------------

.PHONY: check
check: setup-test ## run some checks only: CHECKS="header tidy" (all of them: make test)
	@Scripts/check $(CHECKS)

.PHONY: lint
lint: ## the checks that read the sources and need no build
	@Scripts/check header annotations layers tidy

.PHONY: format
format: ## lay out the sources: Swift by .swift-format, comments of Swift and C within 120 columns
	@Scripts/format

.PHONY: abi-baseline
abi-baseline: setup-test ## take the public headers as the new ABI baseline
	@Scripts/abi-baseline

.PHONY: bench
bench: setup-bench build ## measure against the floor programs
	@Benchmarks/run $(ARGS)

.PHONY: fuzz
fuzz: setup ## fuzz the parsers for SECONDS (60)
	@Fuzz/run $(SECONDS)

.PHONY: soak
soak: SECONDS := $(if $(filter file,$(origin SECONDS)),600,$(SECONDS))
soak: build ## storms over the port and the server, for SECONDS each (600): nothing is lost, nothing left
	@Scripts/soak $(SECONDS)

.PHONY: sanitize-address sanitize-thread
sanitize-address: setup ## run the unit tests under the address sanitizer, those of I/O threads over io_uring, too
sanitize-thread: setup ## the same under the thread sanitizer
sanitize-address sanitize-thread:
	@export TSAN_OPTIONS='suppressions=$(CURDIR)/Scripts/thread-sanitizer.txt' && $(SANITIZED_TESTS) && \
	    MEWS_TEST_IO=io_uring $(SANITIZED_TESTS) --skip-build --filter 'MewsServerTests|IOThread|Takeover'

SANITIZED_TESTS = swift test --disable-xctest --sanitize=$(@:sanitize-%=%) --scratch-path '$(SCRATCH)/$@'

.PHONY: sanitize-host-address sanitize-host-thread
sanitize-host-address: ## run the whole product under the address sanitizer: black-box tests, and requests in numbers
	@Scripts/sanitize-host address
sanitize-host-thread: ## the same under the thread sanitizer
	@Scripts/sanitize-host thread

# The compiler that comes with Swift: the run-time libraries of the sanitizers in program and library must be the same.
SWIFT_TOOLS = $(dir $(realpath $(shell command -v swift)))
SANITIZED_FLAGS = -O1 -g -fno-omit-frame-pointer -fuse-ld=lld -fsanitize=$*
# Swift's thread sanitizer watches the queues of libdispatch, so that a program under it must link that.
SANITIZED_LINK_address =
SANITIZED_LINK_thread = -L$(SWIFT_TOOLS)../lib/swift/linux -Wl,-rpath,$(SWIFT_TOOLS)../lib/swift/linux -ldispatch -lBlocksRuntime

# The product under a sanitizer, in a folder of its own. The Swift plugins are the ordinary ones: their malloc is the
# sanitizer's all the same.
.PHONY: sanitized-build-address sanitized-build-thread
sanitized-build-address sanitized-build-thread: sanitized-build-%: build
	@$(MAKE) library command plugins BUILD='$(BUILD)/$*' SCRATCH='$(SCRATCH)/sanitized-$*' CONFIGURATION=debug \
	    SANITIZER=$* CC='$(SWIFT_TOOLS)clang' CXX='$(SWIFT_TOOLS)clang++' CFLAGS='$(SANITIZED_FLAGS)' \
	    CXXFLAGS='$(SANITIZED_FLAGS)' LDFLAGS='$(SANITIZED_LINK_$*)' SWIFT_PLUGINS=
	@cp $(SWIFT_PLUGINS:%='$(BUILD)/plugins/%.so') '$(BUILD)/$*/plugins/'

# The compiler, with its flags, for programs that link that library.
.PHONY: sanitized-compiler-address sanitized-compiler-thread
sanitized-compiler-address sanitized-compiler-thread: sanitized-compiler-%:
	@echo $(SWIFT_TOOLS)clang $(SANITIZED_FLAGS) $(SANITIZED_LINK_$*)

## -- Parts of the build -----------------------------------------------------------------------------------------------

.PHONY: library
library: setup $(LIBRARY) $(HEADERS) $(BUILD)/lib/pkgconfig/mews.pc $(CMAKE_PACKAGE) $(SDK)/Package.swift ## the library with what finds it: headers, pkg-config file, CMake package, Swift SDK

.PHONY: command
command: library $(COMMAND) ## the mews command

.PHONY: plugins
plugins: library $(patsubst %,$(BUILD)/plugins/%.so,$(C_PLUGINS) $(CXX_PLUGINS) $(SWIFT_PLUGINS)) ## the sample plugins

# Debug information stays behind in the build folder; the symbol table goes along, so that profiles and stack traces show
# names.
$(LIBRARY): $(SWIFT_SOURCES) | setup
	@echo "SWIFT $@"
	@$(SWIFT_BUILD) --product mews --scratch-path '$(SCRATCH)'
	@mkdir -p $(@D)
	@objcopy $(if $(SANITIZER),,--strip-debug) '$(SCRATCH)/$(CONFIGURATION)/libmews.so' $@
	@ln -sf libmews.so.$(VERSION) $(@D)/$(SONAME)
	@ln -sf $(SONAME) $(@D)/libmews.so

$(HEADERS): $(BUILD)/include/%: Include/%
	@mkdir -p $(@D)
	@cp $< $@

$(BUILD)/lib/pkgconfig/mews.pc: mews.pc.in Include/mews/base.h
	@mkdir -p $(@D)
	@sed 's/@VERSION@/$(VERSION)/' $< >$@

$(BUILD)/lib/cmake/Mews/%: CMake/%.in Include/mews/base.h
	@mkdir -p $(@D)
	@sed 's/@VERSION@/$(VERSION)/' $< >$@

# The Swift SDK as a package of its own, for packages outside this tree.
$(SDK)/Package.swift: Scripts/MewsKit-Package.swift $(shell find Include $(SDK_SOURCES))
	@rm -rf $(@D)
	@mkdir -p $(@D)/Sources
	@cp -R Include $(@D)/
	@cp -R $(SDK_SOURCES) $(@D)/Sources/
	@cp $< $@

$(COMMAND): Sources/mews/main.c $(LIBRARY) $(HEADERS) $(BUILD)/lib/pkgconfig/mews.pc
	@echo "CC    $@"
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) $< -o $@ $(MEWS_FLAGS) -Wl,-rpath,'$$ORIGIN/../lib' -Wl,-z,defs $(LDFLAGS)

PLUGIN_NEEDS = $(LIBRARY) $(HEADERS) $(BUILD)/lib/pkgconfig/mews.pc

# A C or C++ plugin is compiled as the README tells its readers to.
$(patsubst %,$(BUILD)/plugins/%.so,$(C_PLUGINS)): $(BUILD)/plugins/%.so: $$(wildcard plugins/%/*.c plugins/%/*.h) $(PLUGIN_NEEDS)
	@echo "CC    $@"
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -Wall -Wextra -shared -fPIC $(NO_UNDEFINED) $(filter plugins/%.c,$^) -o $@ $(MEWS_FLAGS)

$(patsubst %,$(BUILD)/plugins/%.so,$(CXX_PLUGINS)): $(BUILD)/plugins/%.so: $$(wildcard plugins/%/*.cpp plugins/%/*.h) $(PLUGIN_NEEDS)
	@echo "CXX   $@"
	@mkdir -p $(@D)
	@$(CXX) -std=c++17 $(CXXFLAGS) -Wall -Wextra -shared -fPIC $(NO_UNDEFINED) $(filter plugins/%.cpp,$^) -o $@ $(MEWS_FLAGS)

$(patsubst %,$(BUILD)/plugins/%.so,$(SWIFT_PLUGINS)): $(BUILD)/plugins/%.so: $$(shell find plugins/% -name .build -prune -o -print) \
    Package.swift $(shell find $(SDK_SOURCES)) $(PLUGIN_NEEDS)
	@echo "SWIFT $@"
	@mkdir -p $(@D)
	@$(PKG_CONFIG_HERE) $(SWIFT_BUILD) --package-path plugins/$* --product $* --scratch-path '$(SCRATCH)/plugins/$*'
	@objcopy --strip-debug '$(SCRATCH)/plugins/$*/$(CONFIGURATION)/lib$*.so' $@
