# Reads Sources/ as code.awk prints it, twice, and prints every use of a layer above. Called with ROOT, the folder that
# holds the targets. The rules are those of docs/architecture.md.
BEGIN {
    standard = "Swift Glibc Synchronization"
    # A target may import these and the standard modules. A target that is not named here is a finding.
    allow("MewsCore", "CMewsShims")
    allow("MewsServer", "MewsCore CMews CMewsShims")
    allow("MewsHost", "MewsServer MewsCore CMews CMewsShims")
    allow("MewsABI", "MewsHost MewsServer MewsCore CMews CMewsShims CMewsVariadic")
    allow("MewsLib", "MewsABI")
    allow("MewsKit", "CMews CMewsKit")
    allow("MewsKitEntry", "MewsKit CMews CMewsKit")

    # Inside MewsCore, which is one module: whose declarations the files of a folder may not mention.
    forbid("Memory", "Pipelines Ring Port HTTP")
    forbid("Pipelines", "Ring Port HTTP")
    forbid("Ring", "Pipelines Port HTTP")
    forbid("Port", "Pipelines HTTP")
    forbid("HTTP", "Memory Pipelines Ring Port")

    # HTTP is bytes in, events out: no sockets, clocks, threads or files.
    system_calls = "(^|[^A-Za-z0-9_.])(socket|socketpair|accept4?|bind|listen|connect|recv|recvfrom|recvmsg|send|sendto" \
        "|sendmsg|shutdown|[gs]etsockopt|getsockname|epoll_[a-z0-9_]+|poll|select|eventfd|timerfd_[a-z]+|pthread_[a-z_]+" \
        "|clock_[a-z]+|gettimeofday|time|nanosleep|usleep|sleep|open|openat|fopen|syscall|shim_(futex|thread|epoll)[a-z_]*" \
        "|ContinuousClock|SuspendingClock|Task|Mutex)[ \t]*[({.]"
}

function allow(target, modules) { allowed[target] = " " standard " " modules " " }
function forbid(folder, others) { forbidden[folder] = " " others " " }

{
    if (!match($0, /:[0-9]+:/)) next
    file = substr($0, 1, RSTART - 1)
    place = substr($0, 1, RSTART + RLENGTH - 2)
    code = substr($0, RSTART + RLENGTH)
    count = split(substr(file, length(ROOT) + 2), part, "/")
    target = part[1]
    folder = target == "MewsCore" && count > 2 ? part[2] : ""
}

# First reading: what each folder of MewsCore declares for others to see, at the top level of a file.
NR == FNR {
    if (folder == "" || code ~ /^[ \t]/ || code ~ /(^|[^A-Za-z])(fileprivate|private) /) next
    if (match(code, /(^| )(struct|class|enum|protocol|actor|typealias|func) +[A-Za-z_][A-Za-z0-9_]*/)) {
        name = substr(code, RSTART, RLENGTH)
        sub(/.* /, "", name)
        declared_in[name] = folder
    }
    next
}

file ~ /\.(c|h)$/ {
    if (target == "CMewsShims" && code ~ /#[ \t]*include[ \t]*["<]mews\//)
        print place ": the shims stand below the public header and may not include it"
    next
}

match(code, /^[ \t]*(@[A-Za-z_]+(\([A-Za-z_, ]*\))? +)*((public|package|internal|fileprivate|private) +)?import +/) {
    module = substr(code, RSTART + RLENGTH)
    sub(/^(struct|class|enum|protocol|func|var|let|typealias) +/, "", module)
    sub(/[^A-Za-z0-9_].*/, "", module)
    if (!(target in allowed)) print place ": no rule for the target " target ": add it to Scripts/lib/layers.awk"
    else if (index(allowed[target], " " module " ") == 0) print place ": " target " may not import " module
    next
}

# A file of MewsCore outside the folders with rules stands below all of them.
target == "MewsCore" {
    others = folder in forbidden ? forbidden[folder] : " Memory Pipelines Ring Port HTTP "
    rest = code
    while (match(rest, /[A-Za-z_][A-Za-z0-9_]*/)) {
        name = substr(rest, RSTART, RLENGTH)
        before = RSTART > 1 ? substr(rest, RSTART - 1, 1) : ""
        rest = substr(rest, RSTART + RLENGTH)
        if (before == "." || !(name in declared_in)) continue
        # A name in lower case is a function, and counts where it is called.
        if (name ~ /^[a-z_]/ && rest !~ /^\(/) continue
        if (index(others, " " declared_in[name] " ") > 0)
            print place ": " (folder == "" ? "MewsCore" : folder) "/ may not use " name " of " declared_in[name] "/"
    }
    if (folder == "HTTP" && match(code, system_calls)) {
        name = substr(code, RSTART, RLENGTH)
        gsub(/[^A-Za-z0-9_]/, "", name)
        print place ": HTTP/ may not use " name ": it touches no socket, clock, thread or file"
    }
}
