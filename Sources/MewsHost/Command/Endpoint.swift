import CMews
import Glibc
import MewsCore
import MewsServer

/// Why an endpoint cannot be listened on.
public enum ListenError: Error, CustomStringConvertible {
  case badURL(ListenURLError)
  case failed(url: String, SystemError)

  /// One sentence without a full stop.
  public var description: String {
    switch self {
    case .badURL(let error): error.description
    case .failed(let url, let error): "cannot listen on \(url): \(error)"
    }
  }

  /// The result code of the C interface.
  public var result: mews_result {
    switch self {
    case .badURL: mews_result(MEWS_E_INVALID_ARGUMENT)
    case .failed(_, let error): mews_result(error.code == EADDRINUSE ? MEWS_E_CONFLICT : MEWS_E_SYSTEM)
    }
  }
}

/// From what a user writes to sockets that listen.
public enum Endpoint {
  /// Listens on every address of a URL. With port 0, all get the port that the first one got.
  ///
  /// - Parameters:
  ///   - text: a `ListenURL`.
  ///   - socketCount: how many sockets listen on each address.
  public static func listen(_ text: String, socketCount: Int) throws(ListenError) -> [ListeningSet] {
    let url: ListenURL
    do throws(ListenURLError) {
      url = try ListenURL(parsing: text)
    } catch {
      throw .badURL(error)
    }
    return try listen(url, socketCount: socketCount)
  }

  static func listen(_ url: ListenURL, socketCount: Int) throws(ListenError) -> [ListeningSet] {
    var sets: [ListeningSet] = []
    for endpoint in url.endpoints {
      let port = sets.first?.port ?? url.port
      do throws(SystemError) {
        sets.append(try ListeningSet.bind(endpoint.address.with(port: port), count: socketCount))
      } catch {
        if endpoint.isOptional && Self.isMissingAddress(error) { continue }
        for set in sets { set.close() }
        throw .failed(url: url.description, error)
      }
    }
    return sets
  }

  /// The machine has no such address, or not its family.
  private static func isMissingAddress(_ error: SystemError) -> Bool {
    error.code == EADDRNOTAVAIL || error.code == EAFNOSUPPORT
  }
}
