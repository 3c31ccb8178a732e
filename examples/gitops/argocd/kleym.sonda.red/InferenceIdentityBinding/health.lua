local health = { status = "Progressing", message = "Waiting for the Kleym operator" }

-- A status that speaks of an older spec says nothing of this one.
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local ready, reconciling, stalled
for _, condition in ipairs(obj.status.conditions) do
  if condition.type == "Ready" then
    ready = condition
  elseif condition.type == "Reconciling" and condition.status == "True" then
    reconciling = condition
  elseif condition.type == "Stalled" and condition.status == "True" then
    stalled = condition
  end
end

local function told(condition)
  return (condition.reason or "") .. ": " .. (condition.message or "")
end

if ready ~= nil and ready.status == "True" then
  health.status = "Healthy"
  health.message = told(ready)
elseif stalled ~= nil then
  health.status = "Degraded"
  health.message = told(stalled)
elseif reconciling ~= nil then
  health.message = told(reconciling)
elseif ready ~= nil and ready.status == "False" then
  health.status = "Degraded"
  health.message = told(ready)
end
return health
