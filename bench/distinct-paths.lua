-- Requests as distinct as in life: no two paths are equal.
local n = 0
local salt = tostring({}):sub(8)
request = function()
  n = n + 1
  return wrk.format("GET", "/orders/" .. salt .. "-" .. n .. "/items?page=" .. n % 17, { ["user-agent"] = "bench/" .. n % 29, ["x-request-id"] = salt .. n })
end
