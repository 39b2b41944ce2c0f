/// What `mews help` explains. The texts are at most 80 columns wide and end in a line break.
public enum HelpTopic: String, CaseIterable, Sendable {
  case overview
  case run
  case routes
  case doctor
  case version
  case help

  /// The text to print.
  public var text: String {
    switch self {
    case .overview: Self.overviewText
    case .run: Self.runText
    case .routes: Self.routesText
    case .doctor: Self.doctorText
    case .version: Self.versionText
    case .help: Self.helpText
    }
  }

  private static let overviewText = """
    mews serves HTTP with request handlers from shared objects, written in C, C++
    or Swift.

    Usage: mews COMMAND [ARGUMENTS]

    Commands:
      run DIR         serve every plugin found in a directory
      routes [PID]    show how a running server runs its routes, and why
      doctor          say what this machine lets mews do, and what to change
      version         print the version
      help [COMMAND]  explain a command

    Example:
      mews run plugins            serve plugins/*.so on http://127.0.0.1:8080

    'mews help run' lists the options of run.

    """

  private static let runText = """
    Usage: mews run DIR [OPTIONS]

    Loads every plugin, a file named *.so, of the directory DIR and serves their
    routes. A plugin that cannot be loaded is reported, and the others are served.
    Ctrl-C finishes the requests in flight and stops; a second Ctrl-C stops at once.

    Options:
      --listen URL            listen on http://HOST:PORT; may be given repeatedly.
                              HOST is an IPv4 address, an IPv6 address in brackets,
                              localhost, or * for every address. Without a port: 80;
                              port 0 takes a free one.
                              Default: http://127.0.0.1:8080
      --set PLUGIN.KEY=VALUE  give a plugin a setting; may be given repeatedly
      --workers N             how many handlers run at once on worker threads,
                              1 to 1024. Default: one for each processor
      --workers-max N         how many worker threads there may be, those included
                              whose handlers sleep, 1 to 4096. Default: 512, or
                              twice as many as run at once
      --io-threads N          threads that read and write the connections,
                              1 to 1024. Default: one for two processors, up to 16
      --listen-sockets COUNT  sockets that listen on an address: shared, one for all
                              of these threads, per-thread, one for each, or auto:
                              one for each from 8 threads on. Default: auto
      --io BACKEND            how they wait: auto, io_uring or epoll. Default: auto,
                              which is what the variable MEWS_IO says, or epoll
      --io-without NAMES      features of io_uring to do without, divided by commas;
                              the log of the start says which are there
      --execution POLICY      where handlers run: auto, as each route says, or as
                              its runs turn out to be; declared, as each route
                              says, or on worker threads; worker, always on
                              worker threads. Default: auto
      --handler-timeout MS    answer 504 when a handler has not responded after so
                              many milliseconds, up to 86400000 (a day), unless its
                              route has a timeout of its own. Default: 0, no limit
      --strict                do not start when a plugin cannot be loaded
      --no-supervisor         run in one process, for debuggers and profilers
      --log-level LEVEL       leave out lines below debug, info, warning or error.
                              Default: info
      -h, --help              print this text

    A value may follow as the next argument or behind '='. '--' ends the options.
    Of an option that is given twice and cannot add up, the last one counts.

    Examples:
      mews run plugins
      mews run plugins --listen 'http://*:80' --listen 'http://[::1]:9000'
      mews run plugins --workers 32 --set hello.greeting='Good morning'

    Exit status: 0 after a clean stop, 1 when the server cannot run, 2 for wrong
    arguments.

    """

  private static let routesText = """
    Usage: mews routes [PID] [OPTIONS]

    Asks a running server about its routes and prints for each: what its plugin
    declares, the class it has now (inline: on the I/O thread, worker, or blocking:
    on a worker that does not count), how often it ran, how often its class has
    changed, and why it has the class it has. PID is the process that 'mews run'
    was started as; it may be left out when one server is running. The server's
    user and root are answered.

    Options:
      --json      print one JSON object
      -h, --help  print this text

    Exit status: 0, 1 when there is no answer, 2 for wrong arguments.

    """

  private static let doctorText = """
    Usage: mews doctor [--json]

    Looks at the machine: kernel, processors, limits, and what of the kernel's
    interfaces can be used. Each line is one finding: ok, note (mews runs, with less
    than there could be) or problem (mews cannot run), then what it means here and
    what to do about it. Run it as the user, and in the container, that will serve.
    The lines that begin with ring are the features of io_uring, each tried; their
    names are those that the environment variable MEWS_IO_WITHOUT takes.

    Options:
      --json                  print one object of JSON
      -h, --help              print this text

    Exit status: 0 when mews can run, 1 when it cannot, 2 for wrong arguments.

    """

  private static let versionText = """
    Usage: mews version

    Prints the version of the command and of the library.

    """

  private static let helpText = """
    Usage: mews help [COMMAND]

    Explains a command, or, without one, lists the commands.

    """
}
