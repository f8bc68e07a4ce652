# For Puma: a Rack application that calls with Net::HTTP.
require 'digest'
require 'net/http'

CALLS = { 'a' => %w[b c], 'b' => %w[d], 'c' => [], 'd' => [] }.freeze
PORTS = { 'a' => 8001, 'b' => 8002, 'c' => 8003, 'd' => 8004 }.freeze

def child_id(id, hop)
  id.start_with?('h') ? "h#{Digest::SHA256.hexdigest("#{id}/#{hop}")[0, 15]}" : id
end

run(lambda do |env|
  _, hop, id = env['PATH_INFO'].split('/')
  sleep(rand * 0.003)
  parts = CALLS.fetch(hop).map do |target|
    response = Net::HTTP.get_response('127.0.0.1', "/#{target}/#{child_id(id, target)}", PORTS[target])
    raise "#{target}: #{response.code}" unless response.is_a?(Net::HTTPOK)

    sleep(rand * 0.002)
    response.body
  end
  [200, { 'Content-Type' => 'text/plain' }, ["#{hop}(#{parts.join(',')})"]]
end)
